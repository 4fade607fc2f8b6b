"""Answers what Great Expectations asks about a table from DuckDB, where the data is; GX remains the one that judges."""
