"""Keeps what assets return: frozen references, as JSON that opens in a text editor. Nothing is ever pickled.

The reference of an asset and partition lies at `<root>/current/<asset>/<partition>.json`. What the reference points to
lies with the tool that made it.
"""

import json
import os
import uuid
from pathlib import Path
from typing import Any

import dagster as dg

from e2i_pipeline.contracts import references as contracts
from e2i_pipeline.contracts.base import Reference
from e2i_pipeline.errors import ReferenceNotFound

WHOLE = "_all_"
"""Name in place of a partition, for an asset that has none."""


class ReferenceIOManager(dg.ConfigurableIOManager):
    """Stores an asset's reference, and loads it for what depends on it.

    Attributes:
        root: Folder of the references.
    """

    root: str

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Writes the reference.

        Raises:
            TypeError: `obj` is not a `Reference`.
        """
        if not isinstance(obj, Reference):
            asset = context.asset_key.to_user_string() if context.has_asset_key else context.name
            raise TypeError(
                f"{asset} returned a {type(obj).__name__}. An asset returns a frozen reference from "
                "e2i_pipeline/contracts/references.py; the data itself stays in its own tool."
            )
        write_json(self._path(context), {"type": type(obj).__name__, "reference": obj.model_dump(mode="json")})

    def load_input(self, context: dg.InputContext) -> Reference:
        """Reads the reference of the upstream asset.

        Raises:
            ReferenceNotFound: The upstream asset has never been materialized here.
        """
        return self.read(self._path(context), context.asset_key.to_user_string())

    def current(self, asset: str, partition: str = WHOLE) -> Reference:
        """The current reference of an asset, for a reader outside a run.

        Raises:
            ReferenceNotFound: It has never been materialized here.
        """
        return self.read(self.path_of(asset, partition), asset)

    def read(self, path: Path, asset: str) -> Reference:
        """Reads one stored reference."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            partition = "" if path.stem == WHOLE else f" for {path.stem}"
            raise ReferenceNotFound(
                f"{asset}{partition} has not been materialized in this state folder. Materialize it first, or select "
                f"it together with what depends on it: --select '+{asset}'."
            ) from None
        return parse_reference(stored)

    def path_of(self, asset: str, partition: str = WHOLE) -> Path:
        """Where the reference of an asset and partition lies."""
        return Path(self.root) / "current" / asset / f"{partition}.json"

    def _path(self, context: dg.OutputContext | dg.InputContext) -> Path:
        partition = context.asset_partition_key if context.has_asset_partitions else WHOLE
        return self.path_of("/".join(context.asset_key.path), partition)


def parse_reference(stored: dict[str, Any]) -> Reference:
    """Reads a reference back from its JSON form `{"type": ..., "reference": {...}}`."""
    kind: type[Reference] = getattr(contracts, stored["type"])
    return kind.model_validate(stored["reference"])


def write_json(path: Path, content: Any) -> None:
    """Writes JSON so that a reader sees the old file or the new one, never a part of it."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file so that a reader sees the old file or the new one, never a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)  # noqa: PTH105 - atomic by definition on every system
