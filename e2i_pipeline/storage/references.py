"""Keeps what assets return: frozen references, as JSON that opens in a text editor. Nothing is ever pickled.

The reference of an asset and partition lies at `<root>/current/<asset>/<partition>.json`; what a run made of it, for as
long as the run may need it, at `<root>/runs/<run>/...`. What the reference points to lies with the tool that made it.
"""

import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import dagster as dg

from e2i_pipeline.contracts import causal, evaluation, references, registry, training
from e2i_pipeline.contracts.base import Reference
from e2i_pipeline.errors import ReferenceNotFound
from e2i_pipeline.failures import failure
from e2i_pipeline.storage.keeping import keep_for_use
from e2i_pipeline.storage.scratch import clear_abandoned, scratch_file

CONTRACTS = (causal, evaluation, references, registry, training)
"""The modules whose references an asset may return."""

WHOLE = "_all_"
"""Name in place of a partition, for an asset that has none."""

CURRENT = "current"
RUNS = "runs"

KEPT_RUNS = 100
"""Runs whose own references are kept: far more than are ever at work at once. Each is some 20 small files."""


LOOKED_INTO = 5
"""Newest runs that are looked into for what a killed one has left half written: more than are ever killed at once."""


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
                "e2i_pipeline/contracts/; the data itself stays in its own tool."
            )
        stored = {"type": type(obj).__name__, "reference": obj.model_dump(mode="json")}
        write_json(self._path(context, self._place_of(context.run_id)), stored)
        write_json(self._path(context), stored)

    def load_input(self, context: dg.InputContext) -> Reference:
        """Reads the reference of the upstream asset: as this run made it, else the current one.

        A run that began before the source changed ends on what it began with, whatever another run makes meanwhile.

        Raises:
            dagster.Failure: The upstream asset has never been materialized here; trying again would not change that.
        """
        own = self._path(context, f"{RUNS}/{context.upstream_output.run_id}") if context.upstream_output else None
        path = own if own and own.is_file() else self._path(context)
        try:
            return self._kept(path, context.asset_key.to_user_string())
        except ReferenceNotFound as err:
            raise failure(err) from None

    def _kept(self, path: Path, asset: str) -> Reference:
        """A stored reference whose data is safe from clean-up by now; where it came too late, the one that followed."""
        while True:
            reference = self.read(path, asset)
            if keep_for_use(reference) or self.read(path, asset) == reference:
                return reference

    def current(self, asset: str, partition: str = WHOLE) -> Reference:
        """The current reference of an asset, for a reader outside a run.

        Raises:
            ReferenceNotFound: It has never been materialized here.
        """
        return self.read(self.path_of(asset, partition), asset)

    def read(self, path: Path, asset: str) -> Reference:
        """Reads one stored reference.

        Raises:
            ReferenceNotFound: There is none, or it cannot be read.
        """
        try:
            return parse_reference(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            partition = "" if path.stem == WHOLE else f" for {path.stem}"
            raise ReferenceNotFound(
                f"{asset}{partition} has not been materialized in this state folder. Materialize it first, with "
                f"all that it needs: --select '*{asset}'."
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise ReferenceNotFound(
                f"The stored reference {path} of {asset} cannot be read ({type(err).__name__}). Materialize {asset} "
                "again: it is written anew."
            ) from err

    def _place_of(self, run_id: str) -> str:
        """Where a run keeps what it has made; the first time, what runs long past have kept is removed."""
        runs = Path(self.root) / RUNS
        if not (runs / run_id).exists():
            (runs / run_id).mkdir(parents=True, exist_ok=True)
            newest_first = sorted(runs.iterdir(), key=_changed_at, reverse=True)
            for old in newest_first[KEPT_RUNS:]:
                shutil.rmtree(old, ignore_errors=True)
            for asset in itertools.chain.from_iterable(run.glob("*") for run in newest_first[:LOOKED_INTO]):
                clear_abandoned(asset, ".")  # what a run had begun to write there when it was killed
        return f"{RUNS}/{run_id}"

    def path_of(self, asset: str, partition: str = WHOLE) -> Path:
        """Where the current reference of an asset and partition lies."""
        return Path(self.root) / CURRENT / asset / f"{partition}.json"

    def _path(self, context: dg.OutputContext | dg.InputContext, place: str = CURRENT) -> Path:
        partition = context.asset_partition_key if context.has_asset_partitions else WHOLE
        return Path(self.root) / place / "/".join(context.asset_key.path) / f"{partition}.json"


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process was first to remove it
        return 0.0


def parse_reference(stored: dict[str, Any]) -> Reference:
    """Reads a reference back from its JSON form `{"type": ..., "reference": {...}}`."""
    name = stored["type"]
    kind: type[Reference] = getattr(next((m for m in CONTRACTS if hasattr(m, name)), references), name)
    return kind.model_validate(stored["reference"])


def write_json(path: Path, content: Any) -> None:
    """Writes JSON so that a reader sees the old file or the new one, never a part of it."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file so that a reader sees the old file or the new one, never a part of it."""
    with scratch_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, path)  # noqa: PTH105 - atomic by definition on every system
