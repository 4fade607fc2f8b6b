"""Opens the gate for one table version on a named person's word, from the command line and from the Dagster UI alike.

Who may, and with what words, stands in `domain/overrides.py`; for what an override holds in `records/quality.py`; where
it opens the gate in `gate.py`.
"""

from datetime import datetime
from typing import cast

import dagster as dg

from e2i_pipeline.contracts.quality import Override
from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.domain.overrides import checked_actor, checked_reason
from e2i_pipeline.errors import OverrideRefused
from e2i_pipeline.resources.stages.gate import REFERENCES, GateResource
from e2i_pipeline.storage.references import WHOLE, ReferenceIOManager

PER_BRAND = ("training_dataset",)
"""Tables behind the gate that each brand has one of."""


class OverrideResource(dg.ConfigurableResource):
    """Records overrides of the data-quality gate.

    Attributes:
        state_dir: The state folder.
        gate: The gate.
        people: The people who may override, by e-mail address or name; empty lets anybody with an e-mail address.
        brands: The configured brands.
    """

    state_dir: str
    gate: GateResource
    people: list[str]
    brands: list[str]

    def override(
        self, table: str, actor: str, reason: str, now: datetime, brand: str = "", run_id: str = ""
    ) -> Override:
        """Lets the present version of a table pass, though its audit failed.

        Args:
            table: A table behind the gate.
            actor: Who answers for it.
            reason: Why.
            now: When (UTC).
            brand: The brand, for `training_dataset`; by default the first.
            run_id: Dagster run, where there is one.

        Raises:
            OverrideRefused: It names no person, no reason or no such table, or the table was not refused.
            ReferenceNotFound: The table has never been materialized.
        """
        person, why = checked_actor(actor, self.people), checked_reason(reason)
        chosen, others = self._table(table, brand), [self._table(name) for name in REFERENCES.get(table, ())]
        return self.gate.metadata.record_override(self.gate.key(chosen, others), person, why, now, run_id)

    def _table(self, name: str, brand: str = "") -> TableRef:
        """The present version of a table."""
        if name not in self.gate.suites:
            raise OverrideRefused(
                f"There is no table {name!r} behind the gate. Tables: {', '.join(sorted(self.gate.suites))}."
            )
        if brand and brand not in self.brands:
            raise OverrideRefused(f"There is no brand {brand!r}. Configured brands: {', '.join(self.brands)}.")
        partition = (brand or self.brands[0]) if name in PER_BRAND else WHOLE
        store = ReferenceIOManager(root=f"{self.state_dir}/references")
        return cast(TableRef, store.current(name, partition))
