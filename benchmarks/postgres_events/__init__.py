"""The two sides of `landing_postgres`, and the table that both read."""
