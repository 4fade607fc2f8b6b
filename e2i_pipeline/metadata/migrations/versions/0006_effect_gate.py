"""The gate `effect`: whether an effect may be used.

Revision: 0006, after 0005. On the way down its verdicts are dropped: the older schema has no room for them, and the next
materialization of the refutation decides again. What the ledger says of them stays.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLE, _CHECK = "ml_gate_verdicts", "ck_ml_gate_verdicts_gate"


def upgrade() -> None:
    """Lets verdicts be of the gate."""
    _allow("'data_quality', 'evaluation', 'infrastructure', 'parity', 'effect'")


def downgrade() -> None:
    """Drops the gate's verdicts."""
    op.execute(f"DELETE FROM {_TABLE} WHERE gate = 'effect'")  # noqa: S608 - no user's text
    _allow("'data_quality', 'evaluation', 'infrastructure', 'parity'")


def _allow(gates: str) -> None:
    with op.batch_alter_table(_TABLE) as table:
        table.drop_constraint(op.f(_CHECK), type_="check")
        table.create_check_constraint(op.f(_CHECK), f"gate IN ({gates})")
