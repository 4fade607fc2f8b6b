"""Remembers an asset's result by what determined it, so that a run on unchanged input finds it and does nothing.

The memory is by content key, not by a marker: a result counts only while what its reference points to is there.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from e2i_pipeline.contracts.base import Reference
from e2i_pipeline.storage.keeping import keep_for_use, places_named
from e2i_pipeline.storage.references import WHOLE, parse_reference, write_text


class ResultStore(dg.ConfigurableResource):
    """Results by asset, partition and content key.

    Attributes:
        root: Folder of the references.
    """

    root: str

    def recall(
        self,
        context: dg.AssetExecutionContext,
        key: str,
        is_there: Callable[[Any], bool] | None = None,
    ) -> dg.MaterializeResult | None:
        """Finds the earlier result for this key.

        Args:
            context: The asset's context.
            key: Content key of everything that determines the result.
            is_there: Says whether what the reference points to still exists; by default its files are looked for.

        Returns:
            The result, marked as reused, or None where there is none that still holds.
        """
        path = self._path(context, key)
        if not path.is_file():
            return None
        try:
            stored = dg.deserialize_value(path.read_text(encoding="utf-8"), dict)
            reference = parse_reference(dict(stored["record"]))
        except Exception as err:  # whatever is wrong with what was remembered: it can be made again
            context.log.warning("What is remembered in %s cannot be read (%s): made again.", path, type(err).__name__)
            return None
        keep_for_use(reference)
        if not (is_there or files_exist)(reference):
            context.log.info("What an earlier run made of the same input is gone: made again.")
            return None
        context.log.info("Unchanged: nothing was computed, the earlier result holds.")
        metadata = {**stored["metadata"], "unchanged": dg.MetadataValue.bool(True)}
        return dg.MaterializeResult(value=reference, metadata=metadata, data_version=data_version(reference))

    def keep(
        self, context: dg.AssetExecutionContext, key: str, reference: Reference, metadata: Mapping[str, Any]
    ) -> dg.MaterializeResult:
        """Remembers a result under its key and hands it to Dagster.

        Args:
            context: The asset's context.
            key: Content key of everything that determined the result.
            reference: What the asset returns.
            metadata: What people look at in the UI.
        """
        values = {name: metadata_value(value) for name, value in metadata.items()}
        record = {"type": type(reference).__name__, "reference": reference.model_dump(mode="json")}
        remembered: Any = {"record": record, "metadata": values}
        write_text(self._path(context, key), dg.serialize_value(remembered))
        shown = {**values, "unchanged": dg.MetadataValue.bool(False)}
        return dg.MaterializeResult(value=reference, metadata=shown, data_version=data_version(reference))

    def shown(self, asset: str, key: str, partition: str = WHOLE) -> dict[str, Any]:
        """What people see of a remembered result, as plain values; empty where it is not remembered."""
        path = self._place(asset, partition, key)
        if not path.is_file():
            return {}
        stored = dg.deserialize_value(path.read_text(encoding="utf-8"), dict)
        return {name: value.value for name, value in stored["metadata"].items()}

    def _path(self, context: dg.AssetExecutionContext, key: str) -> Path:
        partition = context.partition_key if context.has_partition_key and context.assets_def.partitions_def else WHOLE
        return self._place("/".join(context.asset_key.path), partition, key)

    def _place(self, asset: str, partition: str, key: str) -> Path:
        return Path(self.root) / "results" / asset / partition / f"{key}.json"


def files_exist(reference: Reference) -> bool:
    """Whether every file exists that the reference names, or a reference within it."""
    return all(Path(place).exists() for place in places_named(reference))


def data_version(reference: Reference) -> dg.DataVersion:
    """Dagster's data version of a reference: its content hash where it has one, else its key."""
    version = getattr(reference, "version", "") or reference.key
    return dg.DataVersion(version[:32])


def metadata_value(value: Any) -> dg.MetadataValue:
    """A plain value as Dagster's metadata."""
    if isinstance(value, dg.MetadataValue):
        return value
    if isinstance(value, bool):
        return dg.MetadataValue.bool(value)
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    if isinstance(value, float):
        return dg.MetadataValue.float(value)
    if isinstance(value, datetime):
        return dg.MetadataValue.timestamp(value)
    if isinstance(value, Path):
        return dg.MetadataValue.path(value)
    if isinstance(value, (dict, list, tuple)):
        return dg.MetadataValue.json(list(value) if isinstance(value, tuple) else value)
    return dg.MetadataValue.text(str(value))
