"""What the pipeline writes about its own work: the `ml_*` tables, the gate's verdicts and the ledger.

Here: SQLAlchemy models (one module per few tables), the migrations, and how a database is opened, migrated and written.
Which stage records what stands in `resources/metadata.py`. Nothing here reads a clock or knows Dagster.
"""
