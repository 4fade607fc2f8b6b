"""Random corruptions of random tables: refused in words that hold no value of a row, or published and right.

What was published is held against the critical rules once more, row by row (`critical_rules.py`). The words may be read
by anybody, so neither an id of the drop nor a planted token may stand in them.
"""

import csv
import re
import tempfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.errors import E2IError
from e2i_pipeline_tests import critical_rules
from e2i_pipeline_tests.drops import World, copied, good_world, publish, require_readable, warnings

ODD = (
    *("", " ", "zqfuzzzq00001p", "zqfuzzzq,00002p", 'zqfuzzzq"00003p', "zqfuzzzq\n00004p", "zqfuzzz\u00fcq00005p"),
    *("0", "-1", "1", "2", "NaN", "inf", "1e308", "-0.5", "99999999999999999999", "True", "[]", "{"),
    *("2199-01-01", "0001-01-01", "2024-02-30", "2023-01-01 25:00:00", "2023-06-01", "2023-06-01T00:00:00+14:00"),
    *("Kisqali", "KISQALI", "other", "diagnosis", "south", "oncology", "email", "train", "'); DROP TABLE x; --"),
)
"""Values that somebody's export has had, or could have."""

SPOKEN = re.compile(r"zqfuzz|Kisqali-[PJHTE]\d|Eastwick|Galloway|9000000000|DROP TABLE")


class Corruption(NamedTuple):
    """One thing that goes wrong: what, in which table, where (shares of its columns and rows), and with which value."""

    what: str
    table: str
    column: float
    row: float
    length: int
    value: str


def _set(rows: list[list[str]], at: Corruption) -> None:
    first, column = _place(rows, at)
    for row in rows[first : first + at.length]:
        row[column] = at.value


def _drop_column(rows: list[list[str]], at: Corruption) -> None:
    _, column = _place(rows, at)
    for row in rows:
        del row[column]


def _rename(rows: list[list[str]], at: Corruption) -> None:
    _, column = _place(rows, at)
    rows[0][column] = f"{rows[0][column]}_old"


def _swap_columns(rows: list[list[str]], at: Corruption) -> None:
    _, column = _place(rows, at)
    for row in rows[1:]:
        row[column], row[column - 1] = row[column - 1], row[column]


def _repeat(rows: list[list[str]], at: Corruption) -> None:
    first, _ = _place(rows, at)
    rows.extend(list(row) for row in rows[first : first + at.length])


def _lose(rows: list[list[str]], at: Corruption) -> None:
    first, _ = _place(rows, at)
    del rows[first : first + at.length * 20]


def _shift(rows: list[list[str]], at: Corruption) -> None:
    """The values of one column slip by some rows."""
    _, column = _place(rows, at)
    slipped = [row[column] for row in rows[1:]]
    for row, value in zip(rows[1:], slipped[at.length :] + slipped[: at.length], strict=True):
        row[column] = value


ROWWISE: dict[str, Callable[[list[list[str]], Corruption], None]] = {
    f.__name__: f for f in (_set, _drop_column, _rename, _swap_columns, _repeat, _lose, _shift)
}


def _cut(text: bytes, at: int, _corruption: Corruption) -> bytes:
    return text[:at]


def _insert(text: bytes, at: int, corruption: Corruption) -> bytes:
    return text[:at] + corruption.value.encode() + text[at:]


def _garble(text: bytes, at: int, corruption: Corruption) -> bytes:
    return text[:at] + b"\xff\x00\xe9"[: corruption.length] + text[at + 1 :]


BYTEWISE: dict[str, Callable[[bytes, int, Corruption], bytes]] = {f.__name__: f for f in (_cut, _insert, _garble)}


def _place(rows: list[list[str]], at: Corruption) -> tuple[int, int]:
    """A row below the header, and a column."""
    return 1 + int(at.row * max(len(rows) - 2, 0)), int(at.column * (len(rows[0]) - 1))


def spoil(drop: Path, corruption: Corruption) -> None:
    path = drop / f"{corruption.table}.csv"
    if corruption.what in BYTEWISE:
        text = path.read_bytes()
        path.write_bytes(BYTEWISE[corruption.what](text, int(corruption.row * len(text)), corruption))
        return
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows or len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        return  # an earlier corruption has left no table to change
    ROWWISE[corruption.what](rows, corruption)
    written = StringIO(newline="")
    csv.writer(written).writerows(rows)
    path.write_bytes(written.getvalue().encode("utf-8", errors="surrogateescape"))


SHARE = st.floats(0, 1)
CORRUPTIONS = st.lists(
    st.builds(
        Corruption,
        what=st.sampled_from([*ROWWISE, *BYTEWISE, "_set", "_set", "_set"]),
        table=st.sampled_from(sorted(TABLES)),
        column=SHARE,
        row=SHARE,
        length=st.integers(1, 3),
        value=st.sampled_from(ODD),
    ),
    min_size=1,
    max_size=3,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> World:
    return good_world(tmp_path_factory.mktemp("fuzz"), journeys=200)


def hold(good: World, corruptions: list[Corruption]) -> None:
    """Corrupts a copy of a good drop, and asks whether what becomes of it is one of the two that may be."""
    with tempfile.TemporaryDirectory() as folder:
        world = copied(good, Path(folder))
        for corruption in corruptions:
            spoil(world.drop, corruption)
        try:
            dataset = publish(world)
        except E2IError as err:
            said = str(err)
        else:
            said = warnings(world, dataset) + str([d.defect for t in dataset.tables.values() for d in t.defects])
            require_readable(dataset)
            assert critical_rules.broken(dataset, {"Kisqali"}) == []
        assert not SPOKEN.search(said), said
    require_readable(good.resources()["publication"].current())


UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)


@settings(UNHURRIED, max_examples=15, derandomize=True)
@given(corruptions=CORRUPTIONS)
def test_what_is_corrupted_is_refused_or_right(good: World, corruptions: list[Corruption]) -> None:
    hold(good, corruptions)


@pytest.mark.slow
@settings(UNHURRIED, max_examples=400)
@given(corruptions=CORRUPTIONS)
def test_whatever_is_corrupted_is_refused_or_right(good: World, corruptions: list[Corruption]) -> None:
    hold(good, corruptions)


def test_the_rules_told_again_agree_that_the_good_drop_is_good(good: World) -> None:
    dataset = good.resources()["publication"].current()

    assert critical_rules.broken(dataset, {"Kisqali"}) == []
    assert critical_rules.broken(dataset, {"Fabhalta"}) == ["a brand is not configured"]
