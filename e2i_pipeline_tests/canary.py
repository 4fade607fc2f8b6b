"""A small drop whose identifying values are tokens that occur nowhere else, so that a search finds each trace of them.

Tests only. The search itself stands in `state_contents.py`.
"""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from e2i_pipeline.contracts.tables import DIRECT, IDENTIFIER, TABLES
from e2i_pipeline.domain.synthetic import generate

NAMED = r"(?i)zq[a-z]+zq[0-9]{5}n"
"""What says who somebody is: names and numbers of persons, and the source's own ids. Nowhere."""

PRIVATE = r"(?i)zq[a-z]+zq[0-9]{5}p"
"""What says where somebody lives or what ails them. In tables only."""

FURTHER = ("patient_name", "email", "phone", "street_address", "ssn", "mrn", "birth_date")
"""Direct identifiers that the data dictionary does not know, as a careless export delivers them."""

_PRIVATE_COLUMNS = {
    "patient_journeys": ("zip_code",),
    "treatment_events": ("drug_name", "dosage", "lab_values", "discontinuation_reason", "event_subtype"),
    "hcp_profiles": ("zip_code", "city"),
}


def token(what: str, number: int, kind: str = "n") -> str:
    """One token: of whom or what, which one, and `n` for naming or `p` for private."""
    return f"zq{what.replace('_', '')}zq{number:05d}{kind}"


def tables(journeys: int) -> dict[str, pa.Table]:
    """A made-up world with tokens in each direct, identifying and private column; equal ids have equal tokens."""
    world = generate(["Kisqali"], 7, journeys).tables
    known: dict[tuple[str, str], str] = {}
    return {name: _tokens_in(name, table, known) for name, table in world.items()}


def write(folder: Path, drop: dict[str, pa.Table]) -> None:
    """Writes a drop as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in drop.items():
        duckdb.from_arrow(table).write_csv(str(folder / f"{name}.csv"))


def _tokens_in(name: str, table: pa.Table, known: dict[tuple[str, str], str]) -> pa.Table:
    for column in TABLES[name].columns:
        if column.name not in table.column_names:
            continue
        values = table[column.name].to_pylist()
        if column.privacy == IDENTIFIER:
            table = _with(table, column.name, [_id(column.namespace, value, known) for value in values])
        elif column.privacy == DIRECT:
            table = _with(table, column.name, [token(column.name, i) for i in range(len(values))])
        elif column.name in _PRIVATE_COLUMNS.get(name, ()):
            table = _with(table, column.name, [token(column.name, i, "p") for i in range(len(values))])
    if name == "patient_journeys":
        for further in FURTHER:
            table = _with(table, further, [token(further, i) for i in range(table.num_rows)])
    return table


def _id(namespace: str, value: Any, known: dict[tuple[str, str], str]) -> str | None:
    return None if value is None else known.setdefault((namespace, value), token(namespace, len(known)))


def _with(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    column = pa.array(values, pa.string())
    if name not in table.column_names:
        return table.append_column(name, column)
    return table.set_column(table.column_names.index(name), name, column)
