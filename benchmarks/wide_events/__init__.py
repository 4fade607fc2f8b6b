"""Millions of treatment events, fifty expectations on them, and one query that counts what the expectations count."""
