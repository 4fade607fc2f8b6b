"""Which inputs look like which canonical tables, and which of their columns like which canonical ones. Pure.

By names, and by what the values are where it decides: a draft for a person to correct, no decision. How the draft is
written down stands in `suggestion_yaml.py`.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from e2i_pipeline.contracts.profiles import ColumnProfile, InputProfile
from e2i_pipeline.contracts.synonyms import COLUMN_SYNONYMS, TABLE_SYNONYMS
from e2i_pipeline.contracts.tables import PATIENT_JOURNEYS, TABLES, Column, TableSchema
from e2i_pipeline.domain.privacy import direct_kind

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_NEAR = 0.86
_LEAST = 0.5  # of the required columns, for an input whose name says nothing
_MOST_CATEGORIES = 50
_CODED = ("id", "code", "type", "class", "category", "flag", "status")
_DATED = ("DATE", "TIMESTAMP")


class TableDraft(NamedTuple):
    """One canonical table as it may be made of an input.

    Attributes:
        table: Canonical table.
        profile: The input.
        columns: Input column by canonical column.
        covariates: Columns of the input that may tell a model something, and are no canonical ones.
    """

    table: str
    profile: InputProfile
    columns: Mapping[str, str]
    covariates: tuple[ColumnProfile, ...]

    @property
    def is_canonical(self) -> bool:
        """Whether the input can be landed as it is: named as the table, its columns as the dictionary names them."""
        schema = TABLES[self.table]
        own = {column.name for column in self.profile.columns}
        return self.profile.name == self.table and set(schema.required) <= own

    def source(self, name: str) -> ColumnProfile | None:
        """The column of the input that a canonical one is made of."""
        given = self.columns.get(name)
        return None if given is None else self.profile.column(given)


def draft_tables(profiles: Sequence[InputProfile]) -> tuple[TableDraft, ...]:
    """The canonical tables that the inputs look like, `patient_journeys` first and always among them.

    Args:
        profiles: The inputs, at least one.
    """
    scores: list[tuple[float, str, InputProfile]] = []
    for table in TABLES:
        scores += [(_score(table, profile), table, profile) for profile in profiles]
    chosen: dict[str, InputProfile] = {}
    taken: set[str] = set()
    for score, table, profile in sorted(scores, key=lambda each: -each[0]):
        if score >= _LEAST and table not in chosen and profile.name not in taken:
            chosen[table] = profile
            taken.add(profile.name)
    if PATIENT_JOURNEYS.name not in chosen:
        rest = [profile for profile in profiles if profile.name not in taken] or list(profiles)
        chosen[PATIENT_JOURNEYS.name] = max(rest, key=lambda profile: len(profile.columns))
    return tuple(_draft(table, chosen[table]) for table in TABLES if table in chosen)


def outcome_candidates(draft: TableDraft) -> tuple[ColumnProfile, ...]:
    """The columns that may hold the outcome: few codes, none of them canonical already."""
    return tuple(column for column in draft.covariates if 2 <= column.distinct <= 4)


def words(name: str) -> str:
    """A name as words in lower case with `_` between them: `PatientNbr` and `patient-nbr` are `patient_nbr`."""
    return "_".join(word.lower() for word in _WORD.findall(name))


def is_categorical(column: ColumnProfile) -> bool:
    """Whether a column is a category: texts, bands or the numbers of a code list, that are few."""
    is_coded = words(column.name).split("_")[-1] in _CODED
    return (is_coded or not column.is_number) and column.distinct <= _MOST_CATEGORIES


def _score(table: str, profile: InputProfile) -> float:
    if profile.name == table:
        return 10.0
    name = words(profile.name).split("_")
    singular = {word.removesuffix("s") for word in name} | set(name)
    speaks = max(
        (1.0 - 0.05 * place for place, word in enumerate(TABLE_SYNONYMS[table]) if word in singular), default=0.0
    )
    schema, found = TABLES[table], _matches(TABLES[table], profile)
    share = sum(1 for required in schema.required if required in found) / len(schema.required)
    own_id = schema.columns[0].name in found
    return speaks + share if speaks else (share if share > _LEAST and own_id else 0.0)


def _draft(table: str, profile: InputProfile) -> TableDraft:
    columns = _matches(TABLES[table], profile)
    used = set(columns.values())
    covariates: tuple[ColumnProfile, ...] = ()
    if table == PATIENT_JOURNEYS.name:
        covariates = tuple(c for c in profile.columns if c.name not in used and _may_tell(c, profile))
    return TableDraft(table, profile, columns, covariates)


def _may_tell(column: ColumnProfile, profile: InputProfile) -> bool:
    if direct_kind(column.name) or column.name in PATIENT_JOURNEYS.names or column.kind in ("date", "formatted"):
        return False
    is_identifier = profile.is_nearly_key(column.name) and column.kind != "number"
    return column.distinct >= 2 and not is_identifier and (column.is_number or is_categorical(column))


def _matches(schema: TableSchema, profile: InputProfile) -> dict[str, str]:
    """Input column by canonical column: names that are equal first, then synonyms, then those that are near."""
    free = {words(c.name): c for c in profile.columns if c.kind != "empty" or c.name in schema.names}
    found: dict[str, str] = {}
    for column in schema.columns:
        if column.name in free:
            found[column.name] = free.pop(column.name).name
    rest = [column for column in schema.columns if column.name not in found]
    for column in rest:
        for synonym in COLUMN_SYNONYMS.get(column.name, ()):
            if synonym in free and _fits(column, free[synonym], profile, schema):
                found[column.name] = free.pop(synonym).name
                break
    for column in [column for column in rest if column.name not in found and column.is_required]:
        near = difflib.get_close_matches(column.name, list(free), n=1, cutoff=_NEAR)
        if near and _fits(column, free[near[0]], profile, schema):
            found[column.name] = free.pop(near[0]).name
    return found


def _fits(column: Column, given: ColumnProfile, profile: InputProfile, schema: TableSchema) -> bool:
    """Whether the values are of a kind that the canonical column can be made of."""
    if column.dtype in _DATED:
        return given.kind in ("date", "formatted")
    if column.dtype in ("INTEGER", "DOUBLE") and column.name != "treatment_initiated":
        return given.is_number or given.kind == "band"
    if column.name == "treatment_initiated":
        return 2 <= given.distinct <= 6
    if column == schema.columns[0] and schema.name != "hcp_profiles":
        return profile.is_nearly_key(given.name)
    return True
