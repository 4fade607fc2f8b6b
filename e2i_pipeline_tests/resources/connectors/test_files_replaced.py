"""A file that is replaced while it is read: a clean failure or one version of it, never a mixture."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.errors import SourceError, ToolUnavailable
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.sources import SourceResource

NOW = datetime(2026, 2, 1, tzinfo=UTC)
ROWS = 60_000
CHANGED = "engagement_events changed while it was read; nothing of it was kept"


def version(word: str) -> bytes:
    """A file whose rows all say which version they are of; every version has the same size."""
    lines = (f"t{i},H{i % 9},2024-01-05 10:00:00,{word}" for i in range(ROWS))
    return ("engagement_event_id,hcp_id,event_timestamp,channel\n" + "\n".join(lines) + "\n").encode()


def source(location: str | Path, state: Path, tables: dict[str, Any] | None = None) -> SourceResource:
    return SourceResource(
        kind="files",
        location=str(location),
        state_dir=str(state),
        brands=["Kisqali"],
        cohort={},
        known_at={"kind": "event_plus_lag", "days": 0, "baseline_lag_days": 0},
        absent={"tables": [], "columns": {}},
        options={"format": "auto", "null_markers": [""]},
        tables=tables or {},
        engine=EngineResource(temp_dir=str(state / "spill"), threads=2),
    )


def versions_in(reference: TableRef) -> set[str]:
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT DISTINCT channel FROM read_parquet('{reference.location}')").fetchall()
        rows = connection.execute(f"SELECT count(*) FROM read_parquet('{reference.location}')").fetchone()
    assert rows == (ROWS,)
    return {channel for (channel,) in found}


def attempt(landing: SourceResource) -> tuple[TableRef | None, str]:
    """What was landed, or what was said about why not."""
    try:
        return landing.stage("engagement_events", NOW), ""
    except SourceError as err:
        return None, str(err)


class SwappingFileSystem(MemoryFileSystem):
    """A store in which somebody replaces the file as soon as the engine has read a part of it."""

    protocol = "swapping"
    store: dict[str, Any] = {}  # noqa: RUF012 - its own, as fsspec's memory has one for all
    pseudo_dirs = [""]  # noqa: RUF012 - likewise
    reads = 0
    swap_at = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(path.removeprefix("swapping://"))

    def _open(self, path: str, mode: str = "rb", **given: Any) -> Any:
        if mode == "rb":
            type(self).reads += 1
            if self.reads == self.swap_at:
                self.pipe(path, version("phone"))
        return super()._open(path, mode, **given)


@pytest.fixture
def swapping() -> Iterator[type[SwappingFileSystem]]:
    fsspec.register_implementation("swapping", SwappingFileSystem, clobber=True)
    SwappingFileSystem.reads = SwappingFileSystem.swap_at = 0
    SwappingFileSystem.store.clear()
    yield SwappingFileSystem
    SwappingFileSystem.store.clear()


@pytest.mark.parametrize(
    "mapping", [{}, {"engagement_events": {"columns": {"channel": {"codes": {"email": "email"}}}}}]
)
@pytest.mark.parametrize("swap_at", [1, 2, 3, 4, 5, 6])
def test_an_object_replaced_at_any_opening_is_no_mixture(
    swapping: type[SwappingFileSystem], tmp_path: Path, swap_at: int, mapping: dict[str, Any]
) -> None:
    swapping().pipe("/drop/engagement_events.csv", version("email"))
    swapping.swap_at = swap_at
    landed, said = attempt(source("swapping://drop", tmp_path / "state", mapping))
    assert swapping.reads >= 2
    if swapping.reads >= swap_at:
        assert CHANGED in said
        assert not (tmp_path / "state" / "staging").exists()
    else:
        assert landed is not None
        assert versions_in(landed) == {"email"}


def test_an_object_that_stays_is_landed(swapping: type[SwappingFileSystem], tmp_path: Path) -> None:
    swapping().pipe("/drop/engagement_events.csv", version("email"))
    landed = source("swapping://drop", tmp_path / "state").stage("engagement_events", NOW)
    assert versions_in(landed) == {"email"}


class BreakingFileSystem(MemoryFileSystem):
    """A store that goes away once the engine reads the file, after its header was."""

    protocol = "breaking"
    store: dict[str, Any] = {}  # noqa: RUF012 - its own, as fsspec's memory has one for all
    pseudo_dirs = [""]  # noqa: RUF012 - likewise
    reads = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(path.removeprefix("breaking://"))

    def _open(self, path: str, mode: str = "rb", **given: Any) -> Any:
        if mode == "rb":
            type(self).reads += 1
            if self.reads == 2:
                raise ConnectionResetError("SECRET of the store")
        return super()._open(path, mode, **given)


def test_a_store_that_goes_away_may_be_tried_again_and_leaves_nothing(tmp_path: Path) -> None:
    fsspec.register_implementation("breaking", BreakingFileSystem, clobber=True)
    BreakingFileSystem().pipe("/drop/engagement_events.csv", version("email"))
    landing = source("breaking://drop", tmp_path / "state")
    with pytest.raises(ToolUnavailable, match="could not be read to its end") as caught:
        landing.stage("engagement_events", NOW)
    assert "SECRET" not in str(caught.value)
    assert not (tmp_path / "state" / "staging").exists()
    assert versions_in(landing.stage("engagement_events", NOW)) == {"email"}


@pytest.mark.parametrize("is_renamed", [True, False])
def test_a_file_replaced_again_and_again_is_no_mixture(tmp_path: Path, is_renamed: bool) -> None:
    folder, stop, written = tmp_path / "drop", threading.Event(), threading.Event()
    folder.mkdir()
    target = folder / "engagement_events.csv"
    words = ("email", "phone")
    target.write_bytes(version(words[1]))

    def replace() -> None:
        count = 0
        while not stop.is_set():
            made = target if not is_renamed else tmp_path / "next.csv"
            made.write_bytes(version(words[count % 2]))
            if is_renamed:
                made.replace(target)
            count += 1
            written.set()

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        written.wait(30)
        outcomes = []
        for number in range(3):
            landed, said = attempt(source(folder, tmp_path / f"state{number}"))
            assert landed is not None or "engagement_events" in said
            assert (tmp_path / f"state{number}" / "staging").exists() == (landed is not None)
            outcomes.append(set() if landed is None else versions_in(landed))
    finally:
        stop.set()
        thread.join()
    assert len(outcomes) == 3
    assert all(len(found) <= 1 for found in outcomes)
