"""PostgreSQL: the log, the work that follows from it, and the read models."""
