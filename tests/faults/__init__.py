"""What happens when things are killed: the real roles as processes of their own, on a real PostgreSQL and Redis.

Each scenario sends, breaks something and joins three independent histories: what was acknowledged, what arrived at the
provider, what the log says.
"""
