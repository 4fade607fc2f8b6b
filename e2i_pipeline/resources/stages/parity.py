"""Holds the online store against the offline store, and keeps the verdict: nothing is served that differs.

What counts as a difference stands in `domain/parity.py`.
"""

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.quality import Verdict, VerdictKey
from e2i_pipeline.contracts.references import FeatureRegistryRef, OnlineFeaturesRef
from e2i_pipeline.domain import parity
from e2i_pipeline.domain.features import ENTITIES
from e2i_pipeline.errors import ServingBlocked
from e2i_pipeline.resources.engine import EngineResource, parquet, quoted
from e2i_pipeline.resources.feast import FeastResource
from e2i_pipeline.resources.metadata import MetadataResource

if TYPE_CHECKING:
    import pandas as pd

PARITY = "parity"
"""Name of the gate, in verdicts and in the ledger."""

_STALE_SHARE = 0.1
"""Share of the sample that is taken from the entities whose last event is the oldest: they are nearest to their TTL."""


class Parity(NamedTuple):
    """The verdict and, where it was decided just now, what was compared."""

    verdict: Verdict
    results: tuple[parity.FeatureParity, ...] = ()


class ParityResource(dg.ConfigurableResource):
    """Online beside offline.

    Attributes:
        feast: Reads both stores.
        engine: Chooses the entities.
        metadata: Keeps the verdict.
        sample: Entities compared per join key.
        min_present: Smallest share of the entities of a view that must have a value.
    """

    feast: FeastResource
    engine: EngineResource
    metadata: MetadataResource
    sample: int
    min_present: float

    def audit(self, online: OnlineFeaturesRef, registry: FeatureRegistryRef, run_id: str, now: datetime) -> Parity:
        """Compares a sample of entities as of the time up to which the online store was filled, and keeps the verdict.

        The same fill is compared once. One that failed is compared again: the store may have been mended.

        Raises:
            ToolUnavailable: A store does not answer.
            ToolRejected: The registry is no longer what `registry` says.
        """
        key = self._key(online)
        kept = self.metadata.verdict(key)
        if kept is not None and kept.is_passed:
            return Parity(kept)
        rows = self._rows(registry, online.until)
        online_rows = self.feast.online_rows(registry, rows)
        offline = self.feast.training_frame(registry, rows)
        results = parity.compare(offline, online_rows.frame, registry.features, ENTITIES, online_rows.ahead)
        reasons = parity.problems(results, self.min_present)
        verdict = Verdict(key=key, gate=PARITY, is_passed=not reasons, reasons=reasons, decided_at=now, run_id=run_id)
        figures = {"entities": len(rows), "mismatches": sum(result.mismatches for result in results)}
        return Parity(self.metadata.record_verdict(verdict, figures), results)

    def require(self, online: OnlineFeaturesRef) -> None:
        """Refuses to serve from an online store that was not seen to agree with the offline store, whatever ran before.

        Raises:
            ServingBlocked: No verdict on this fill, or a failing one.
        """
        verdict = self.metadata.verdict(self._key(online))
        if verdict is not None and verdict.is_passed:
            return
        found = "\n  ".join(verdict.reasons) if verdict else "It was not compared yet."
        raise ServingBlocked(
            f"The online store, filled up to {online.until.isoformat()}, is not known to say what the offline store "
            f"says; nothing was deployed.\n  {found}\n  Materialize online_features again (its check compares both). "
            "If the difference stays, delete the online store: it is filled anew."
        )

    def _key(self, online: OnlineFeaturesRef) -> VerdictKey:
        rules = content_key(
            self.sample, self.min_present, code_version("domain/parity.py", "resources/stages/parity.py")
        )
        return VerdictKey(subject="online_features", data_version=online.key, suite_hash=rules, gate_hash=PARITY)

    def _rows(self, registry: FeatureRegistryRef, moment: datetime) -> "pd.DataFrame":
        """Entity rows at one time: a sample per join key, side by side; the shorter column ends in nulls."""
        import pandas as pd

        present = [table for table in registry.tables.values() if not table.is_absent]
        columns: dict[str, pd.Series] = {}
        with self.engine.connect() as connection:
            for entity in dict.fromkeys(table.entity for table in present):
                tables = [parquet(table.location) for table in present if table.entity == entity]
                found = connection.execute(_chosen(entity, tables, self.sample)).fetchall()
                columns[entity] = pd.Series([key for (key,) in found], dtype=object)
        return pd.DataFrame(columns).assign(event_timestamp=pd.Timestamp(moment))


def _chosen(entity: str, tables: list[str], sample: int) -> str:
    """Entities in no order that means anything, and those whose last event is the oldest."""
    key, stale = quoted(entity), max(1, round(sample * _STALE_SHARE))
    every = " UNION ALL ".join(f"SELECT {key}, event_timestamp FROM {table}" for table in tables)
    return f"""
        WITH last AS (SELECT {key}, max(event_timestamp) AS last FROM ({every}) WHERE {key} IS NOT NULL GROUP BY 1)
        SELECT {key} FROM (
            (SELECT {key} FROM last ORDER BY md5({key}) LIMIT {sample - stale})
            UNION (SELECT {key} FROM last ORDER BY last, {key} LIMIT {stale}))
        ORDER BY {key}"""
