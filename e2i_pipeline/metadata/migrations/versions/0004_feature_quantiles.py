"""Quantiles of a feature's values stand beside its other statistics.

Revision: 0004, after 0003. Rows that are there have none until their training dataset is materialized again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column."""
    op.add_column("ml_feature_store", sa.Column("quantiles", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Drops the column, and the quantiles with it."""
    op.drop_column("ml_feature_store", "quantiles")
