"""The roles that something outside this process, or something that cannot be foretold, plays for the application.

Every promise made here is proved by a contract test that runs on each adapter, the in-memory one included.
"""
