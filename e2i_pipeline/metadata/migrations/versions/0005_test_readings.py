"""Readings of the sealed test split have a table, and a regression has success criteria of its own.

Revision: 0005, after 0004. Evaluations made before are not in it: nobody wrote them down.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table and the columns."""
    op.create_table(
        "ml_test_readings",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("brand", sa.String(255), nullable=False),
        sa.Column("dataset_version", sa.String(64), nullable=False),
        sa.Column("training_key", sa.String(64), nullable=False),
        sa.Column("model_version", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(255), nullable=False),
        sa.Column("occasion", sa.String(64), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dagster_run_id", sa.String(64), nullable=False),
        sa.Column("mlflow_run_id", sa.String(64), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint(
            "purpose IN ('evaluation', 'comparison')", name=op.f("ck_ml_test_readings_purpose")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ml_test_readings")),
    )
    for column in ("dataset_version", "dagster_run_id"):
        op.create_index(op.f(f"ix_ml_test_readings_{column}"), "ml_test_readings", [column])
    for name in ("minimum_r2", "maximum_rmse"):
        op.add_column("ml_experiments", sa.Column(name, sa.Double(), nullable=True))


def downgrade() -> None:
    """Drops them, and the record of who has read the test split with them."""
    for name in ("maximum_rmse", "minimum_r2"):
        op.drop_column("ml_experiments", name)
    op.drop_table("ml_test_readings")
