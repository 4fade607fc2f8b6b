"""Alembic's environment: runs the revisions on the connection that `e2i_pipeline.metadata.migration` hands over."""

from alembic import context

from e2i_pipeline.metadata.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite cannot alter a column in place
)
with context.begin_transaction():
    context.run_migrations()
