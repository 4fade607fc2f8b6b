"""Whether a declared mapping fits: its canonical names the data dictionary, its other names the input. Pure."""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence

from e2i_pipeline.contracts.mapping import MADE, REPETITION, STEP, TableMapping
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain.mapping import Used, expressions, needed, outputs_of
from e2i_pipeline.errors import ConfigurationError, SourceError

_LISTED = 60  # columns of an input in a message


def check_mappings(tables: Mapping[str, TableMapping], covariates: Mapping[str, Collection[str]]) -> None:
    """Holds the canonical names of all mappings against the data dictionary and the configured covariates.

    Args:
        tables: Mapping by canonical table (`source.tables`).
        covariates: Further columns that each table may have.

    Raises:
        ConfigurationError: A table or a column is unknown, or two parts of a mapping cannot both hold.
    """
    for table, mapping in tables.items():
        if table not in TABLES:
            raise ConfigurationError(
                f"source.tables names {table}, which is no canonical table. {_hint(table, TABLES)}"
            )
        where = f"source.tables.{table}"
        known = (*TABLES[table].names, *covariates.get(table, ()))
        dated = [mapping.order.to] if mapping.order and mapping.order.to else []
        for name in (*mapping.columns, *dated):
            if name not in known:
                raise ConfigurationError(
                    f"{where}.columns names {name}, which is neither in the data dictionary nor the column of a "
                    f"covariate. {_hint(name, known)} A column of your own is named in "
                    "features.covariates too, or is the target."
                )
        _check_parts(table, mapping, where)


def _check_parts(table: str, mapping: TableMapping, where: str) -> None:
    if mapping.order and (mapping.order.to or TABLES[table].event_time) in mapping.columns:
        raise ConfigurationError(f"{where}: order and columns both make {outputs_of(table, mapping)[-1]}. Keep one.")
    if mapping.unlisted == "drop" and (unmade := [n for n in mapping.key if n not in outputs_of(table, mapping)]):
        raise ConfigurationError(f"{where}.key names {', '.join(unmade)}, which columns does not make.")
    for name, column in mapping.columns.items():
        dtype = next((c.dtype for c in TABLES[table].columns if c.name == name), "")
        if column.timezone and dtype == "DATE":
            raise ConfigurationError(f"{where}.columns.{name}.timezone: a date has no time zone. Take it out.")
        if column.timezone and column.format and any("%z" in f or "%Z" in f for f in column.format):
            raise ConfigurationError(f"{where}.columns.{name}: format reads the time zone itself. Take timezone out.")


def check_used(table: str, mapping: TableMapping, used: Used) -> None:
    """Holds the use of made columns against the parts that make them.

    Raises:
        ConfigurationError: A column is used that nothing makes.
    """
    named = {n for column in mapping.columns.values() for n in (*(column.join or ()), column.column)}
    named |= {name for sql in expressions(mapping).values() for name in used.get(sql, ())}
    for made, key, is_there in ((STEP, "order", mapping.order), (REPETITION, "repeat", mapping.repeat)):
        if made in named and is_there is None:
            raise ConfigurationError(f"source.tables.{table} uses {made}, which {key} makes: there is no {key}.")


def check_input(table: str, mapping: TableMapping, used: Used, found: Sequence[str], where: str) -> None:
    """Holds the names of a mapping against the columns of its input.

    Args:
        table: Canonical table.
        mapping: Its mapping.
        used: What its expressions read.
        found: The input's columns.
        where: The input in words.

    Raises:
        SourceError: A column is not there, or has a name that is kept for what the mapping makes.
    """
    by_lower = {name.lower(): name for name in found}
    if taken := [name for name in MADE if name in by_lower]:
        raise SourceError(f"{where} has a column {taken[0]}, a name that mappings keep for themselves. Rename it.")
    wanted = needed(mapping, used)
    lacking = [name for name in wanted if name.lower() not in by_lower]
    if not lacking:
        return
    begin = f"source.tables.{table} names {', '.join(lacking)}, which {where} has no column of. "
    if len(lacking) == len(wanted):  # a file without a header has a patient's values there: none is repeated
        raise SourceError(
            f"{begin}None of its {len(found)} columns has a name of the mapping: see that it begins with a line of "
            "column names, and that `from` names the right input."
        )
    listed = ", ".join(found[:_LISTED]) + (f" and {len(found) - _LISTED} more" if len(found) > _LISTED else "")
    raise SourceError(f"{begin}{_hints(lacking, by_lower)}Columns found: {listed}.")


def _hints(names: Iterable[str], by_lower: Mapping[str, str]) -> str:
    near = {name: difflib.get_close_matches(name.lower(), list(by_lower), n=1) for name in names}
    return "".join(f"For {name}, is {by_lower[close[0]]} meant? " for name, close in near.items() if close)


def _hint(name: str, valid: Iterable[str]) -> str:
    names = list(valid)
    near = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {near[0]}?" if near else f"There are {', '.join(names)}."
