"""The gate `parity`: whether the online store says what the offline store says.

Revision: 0003, after 0002. On the way down its verdicts are dropped: the older schema has no room for them, and the next
materialization of the online features compares both stores again. What the ledger says of them stays.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLE, _CHECK = "ml_gate_verdicts", "ck_ml_gate_verdicts_gate"


def upgrade() -> None:
    """Lets verdicts be of the gate."""
    _allow("'data_quality', 'evaluation', 'infrastructure', 'parity'")


def downgrade() -> None:
    """Drops the gate's verdicts."""
    op.execute(f"DELETE FROM {_TABLE} WHERE gate = 'parity'")  # noqa: S608 - no user's text
    _allow("'data_quality', 'evaluation', 'infrastructure'")


def _allow(gates: str) -> None:
    with op.batch_alter_table(_TABLE) as table:
        table.drop_constraint(op.f(_CHECK), type_="check")
        table.create_check_constraint(op.f(_CHECK), f"gate IN ({gates})")
