"""The ledger's entries can be found by the verdict key that they are about.

Revision: 0002, after 0001. The new column is no part of an entry's hash, so the chain holds before and after; what
entries say of their key in the payload fills it, here and after a way down and up again.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INDEX = "ix_ml_ledger_about"
_UNLOCK = {
    "sqlite": ["DROP TRIGGER ml_ledger_no_update"],
    "postgresql": ["ALTER TABLE ml_ledger DISABLE TRIGGER ml_ledger_append_only"],
}
_LOCK = {
    "sqlite": [
        "CREATE TRIGGER ml_ledger_no_update BEFORE update ON ml_ledger "
        "BEGIN SELECT RAISE(ABORT, 'ml_ledger is append-only'); END"
    ],
    "postgresql": ["ALTER TABLE ml_ledger ENABLE TRIGGER ml_ledger_append_only"],
}


def upgrade() -> None:
    """Adds the column and fills it."""
    op.add_column("ml_ledger", sa.Column("about", sa.String(64), server_default="", nullable=False))
    op.create_index(_INDEX, "ml_ledger", ["about"])
    connection = op.get_bind()
    dialect = connection.dialect.name
    for statement in _UNLOCK[dialect]:
        op.execute(statement)
    fill = sa.text("UPDATE ml_ledger SET about = :key WHERE sequence = :sequence")
    for sequence, payload in connection.execute(sa.text("SELECT sequence, payload FROM ml_ledger")).fetchall():
        content = json.loads(payload) if isinstance(payload, str) else payload
        key = content.get("key") if isinstance(content, dict) else None
        if isinstance(key, str):
            connection.execute(fill, {"key": key, "sequence": sequence})
    for statement in _LOCK[dialect]:
        op.execute(statement)


def downgrade() -> None:
    """Drops the column; the entries stay as they are."""
    op.drop_index(_INDEX, "ml_ledger")
    op.drop_column("ml_ledger", "about")
