"""Writes a draft of a mapping down as a configuration in YAML, with a comment wherever a person must decide. Pure."""

import json
import re
from collections.abc import Iterator, Sequence

from e2i_pipeline.contracts.mapping import ROW
from e2i_pipeline.contracts.profiles import ColumnProfile, InputProfile
from e2i_pipeline.contracts.synonyms import AMBIGUOUS_MARKERS, CLOSED, NO, YES
from e2i_pipeline.contracts.tables import IDENTIFIER, PATIENT_JOURNEYS, TABLES
from e2i_pipeline.domain.suggestion import TableDraft, is_categorical, outcome_candidates, words

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = frozenset(("y", "n", "yes", "no", "true", "false", "on", "off", "null", "none"))
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
_USUAL = ("age_at_diagnosis", "gender", "geographic_region", "insurance_type", "disease_severity", "academic_hcp")
_USUAL_NUMBERS = {"age_at_diagnosis": (0, 120), "disease_severity": (0, 10), "engagement_score": (0, 10)}
_DATES = 1000  # different dates that an order is spread over
_LISTED = 12


def draft_yaml(drafts: Sequence[TableDraft], profiles: Sequence[InputProfile]) -> str:
    """The draft as the text of a configuration.

    Args:
        drafts: What `suggestion.draft_tables` found.
        profiles: All inputs.

    Returns:
        YAML that loads.
    """
    return "\n".join(_lines(drafts, profiles)) + "\n"


def _lines(drafts: Sequence[TableDraft], profiles: Sequence[InputProfile]) -> Iterator[str]:
    journeys = next(draft for draft in drafts if draft.table == PATIENT_JOURNEYS.name)
    yield "# A draft, made from names, types and counts. Correct it; DECIDE marks what only a person knows."
    yield "# Run it: make run CONFIG=<this file> DATA=<the folder>. All keys: docs/configuration.md."
    yield from _about(drafts, profiles)
    yield "source:"
    yield "  kind: files"
    yield from _known_at(drafts)
    yield from _absent(drafts)
    yield from _markers(profiles)
    mapped = [draft for draft in drafts if not _is_left(draft)]
    if mapped:
        yield "  tables:"
        for draft in mapped:
            yield from _table(draft)
    yield from _brands(journeys)
    yield from _cohort(journeys)
    yield from _covariates(journeys)


def _about(drafts: Sequence[TableDraft], profiles: Sequence[InputProfile]) -> Iterator[str]:
    used = {draft.profile.name for draft in drafts}
    for profile in profiles:
        what = "" if profile.name in used else "; made into nothing here"
        more = " and more" if profile.is_sample else ""
        yield f"#   {profile.name}: {profile.rows:,} rows{more}, {len(profile.columns)} columns{what}"


def _known_at(drafts: Sequence[TableDraft]) -> Iterator[str]:
    journeys = next(draft for draft in drafts if draft.table == PATIENT_JOURNEYS.name)
    if PATIENT_JOURNEYS.known_at in journeys.columns:
        yield "  # DECIDE: with several versions of a journey, baseline_lag_days: null."
        yield "  known_at: {kind: observed, days: 0, baseline_lag_days: 0}"
    else:
        yield "  # DECIDE: nothing says when a row became known: how many days after its event was it?"
        yield "  known_at: {kind: event_plus_lag, days: 0, baseline_lag_days: 0}"


def _absent(drafts: Sequence[TableDraft]) -> Iterator[str]:
    there = {draft.table for draft in drafts}
    lacking = [name for name, schema in TABLES.items() if name not in there and not schema.is_optional]
    if lacking:
        yield f"  # Nothing looks like {' or '.join(lacking)}: map an input to it, or leave it declared absent."
    columns = [name for name in ("hcp_id",) if name not in _journey_columns(drafts)]
    listed = f"{{patient_journeys: [{', '.join(columns)}]}}" if columns else "{}"
    yield f"  absent: {{tables: [{', '.join(lacking)}], columns: {listed}}}"


def _journey_columns(drafts: Sequence[TableDraft]) -> set[str]:
    journeys = next(draft for draft in drafts if draft.table == PATIENT_JOURNEYS.name)
    return set(journeys.columns)


def _markers(profiles: Sequence[InputProfile]) -> Iterator[str]:
    met: dict[str, int] = {}
    for profile in profiles:
        for column in profile.columns:
            for marker, rows in column.markers.items():
                met[marker] = met.get(marker, 0) + rows
    sure = [marker for marker in met if marker not in AMBIGUOUS_MARKERS]
    if doubtful := [marker for marker in AMBIGUOUS_MARKERS if marker in met]:
        stands = " and ".join(f"{marker} in {met[marker]:,} values" for marker in doubtful)
        yield f"  # DECIDE: {stands}. They are data unless named here: is it a code, or does it mean null?"
    elif sure:
        yield f"  # Found: {', '.join(f'{json.dumps(marker)} {met[marker]:,} times' for marker in sure)}."
    listed = ", ".join(json.dumps(marker) for marker in ["", *sure])
    yield f"  files: {{format: auto, null_markers: [{listed}]}}"


def _is_left(draft: TableDraft) -> bool:
    """Whether an input needs no mapping: canonical names, and values that landing reads by itself."""
    readings = [_reading(name, draft) for name in draft.columns]
    return draft.is_canonical and not any(reading.startswith(("format", "band")) for reading in readings)


def _table(draft: TableDraft) -> Iterator[str]:
    schema, profile = TABLES[draft.table], draft.profile
    yield f"    {draft.table}:"
    if profile.name != draft.table:
        yield f"      from: {_text(profile.name)}"
    if draft.table == PATIENT_JOURNEYS.name:
        yield "      unlisted: drop   # columns that are neither below nor a covariate's are not used"
    else:
        yield "      unlisted: drop"
    if schema.event_time in schema.required and schema.event_time not in draft.columns:
        yield from _order(draft)
    first = draft.source(schema.columns[0].name)
    if first is not None and draft.table != "hcp_profiles" and first.distinct < first.given:
        again = first.given - first.distinct
        yield f"      # DECIDE: {again:,} rows have the {first.name} of another. With a key, rows that are equal are"
        yield "      # one; those of one key that differ stay, and are counted."
        yield f"      key: {schema.columns[0].name}"
    yield "      columns:"
    for column in schema.columns:
        if column.privacy == "direct" or (column.name == schema.event_time and column.name not in draft.columns):
            continue
        yield from _column(column.name, draft)
    for covariate in draft.covariates:
        if not _NAME.fullmatch(covariate.name):
            yield f"        {words(covariate.name)}: {_text(covariate.name)}"


def _order(draft: TableDraft) -> Iterator[str]:
    profile = draft.profile
    key = next((c.name for c in profile.columns if profile.is_nearly_key(c.name) and c.kind == "whole"), "")
    by = f"by: {_text(key)}, " if key else ""
    rows = max(1, profile.rows // _DATES)
    yield "      # DECIDE: no column is a date. Rows get one by their order; take what orders them in time."
    yield f"      order: {{{by}start: 2020-01-01, every: day, rows: {rows}}}"


def _column(name: str, draft: TableDraft) -> Iterator[str]:
    source, schema = draft.source(name), TABLES[draft.table]
    if source is not None:
        yield from _mapped(name, source, draft)
    elif name == "brand" and name in schema.required:
        yield "        brand: {value: MyBrand}   # DECIDE: the product that the outcome is about"
    elif name in schema.required and schema.column(name).privacy == IDENTIFIER:
        yield f"        {name}: {ROW}   # DECIDE: no column names it; this is the row's place in the file"
    elif name in schema.required:
        near = f" one of {', '.join(CLOSED[name])}" if name in CLOSED else " what it is"
        yield f"        {name}: {{value: {_text(CLOSED.get(name, ('other',))[0])}}}   # DECIDE:{near}"
    elif name == "treatment_initiated":
        candidates = ", ".join(column.name for column in outcome_candidates(draft)[:_LISTED])
        yield "        # DECIDE: the outcome (1: it began in the window, 0: not, null: still open). Few codes have:"
        yield f"        #   {candidates or 'no column'}"
        yield '        # treatment_initiated: {column: ..., codes: {"YES": 1, "NO": 0}}'


def _mapped(name: str, source: ColumnProfile, draft: TableDraft) -> Iterator[str]:
    reading = _reading(name, draft)
    note = ""
    if len(source.formats) > 1 and source.kind == "formatted":
        note = f"   # DECIDE: {' and '.join(source.formats)} fit alike"
    elif name == "primary_diagnosis_code":
        note = "   # DECIDE: ICD-10 codes? Others go into a column of their own, as a covariate"
    elif name == "treatment_initiated":
        note = "   # DECIDE: is this the outcome? 1: it began in the window, 0: not, null: open"
    elif "codes" in reading and name in CLOSED:
        note = f"   # DECIDE: one of {', '.join(CLOSED[name])}"
    if reading:
        yield f"        {name}: {{column: {_text(source.name)}, {reading}}}{note}"
    else:
        yield f"        {name}: {_text(source.name)}{note}"
    if source.kind == "band" and name == "age_at_diagnosis" and "age_group" not in draft.columns:
        yield f"        age_group: {_text(source.name)}"


def _reading(name: str, draft: TableDraft) -> str:
    """How a column is to be read, as what stands in its mapping; empty where landing needs nothing."""
    source = draft.source(name)
    if source is None:
        return ""
    dtype = TABLES[draft.table].column(name).dtype
    if dtype in ("DATE", "TIMESTAMP") and source.kind == "formatted":
        return f"format: {json.dumps(source.formats[0])}"
    if dtype in ("INTEGER", "DOUBLE") and source.kind == "band":
        return "band: middle"
    if name == "treatment_initiated" and source.codes and not set(source.codes) <= {"0", "1"}:
        return f"codes: {{{', '.join(f'{json.dumps(code)}: {_yes_or_no(code)}' for code in source.codes)}}}"
    if name in CLOSED and source.codes and not {code.lower() for code in source.codes} <= set(CLOSED[name]):
        return f"codes: {{{', '.join(f'{json.dumps(c)}: {_text(_near(c, CLOSED[name]))}' for c in source.codes)}}}"
    return ""


def _near(code: str, closed: Sequence[str]) -> str:
    return next((each for each in closed if words(code) in each or each in words(code)), closed[0])


def _yes_or_no(code: str) -> str:
    folded = code.lower()
    return "1" if folded in YES else "0" if folded in NO else "null"


def _brands(journeys: TableDraft) -> Iterator[str]:
    brand = journeys.source("brand")
    codes = [code for code in brand.codes if _NAME.fullmatch(code)] if brand is not None else []
    listed = ", ".join(_text(code) for code in codes if code not in ("competitor", "other"))
    yield f"brands: [{listed or 'MyBrand'}]" + ("" if listed else "   # DECIDE")


def _cohort(journeys: TableDraft) -> Iterator[str]:
    patients = journeys.source("patient_id")
    repeated = patients is not None and patients.distinct < patients.given
    yield "cohort:"
    if repeated and patients is not None:
        yield f"  # {patients.distinct:,} patients in {patients.given:,} rows. DECIDE: all journeys, or the first of"
        yield "  # each (unit: patient, and in the mapping one_row: {per: <patient>, by: <order>})?"
    yield f"  unit: {'journey' if repeated else 'patient'}"
    yield "  outcome_window_days: 180   # DECIDE: days from the index date in which the outcome counts"


def _covariates(journeys: TableDraft) -> Iterator[str]:
    entries: list[str] = []
    for name in _USUAL:
        if (source := journeys.source(name)) is not None:
            is_number = name in _USUAL_NUMBERS or (name == "academic_hcp")
            low_high = "".join(
                f", {side}: {value}" for side, value in zip(("low", "high"), _USUAL_NUMBERS.get(name, ()), strict=False)
            )
            kind = "numeric" if is_number else "categorical"
            entries.append(_covariate(name, name, f"{kind}{low_high}") if source.distinct > 1 else "")
    for column in journeys.covariates:
        name = column.name if _NAME.fullmatch(column.name) else words(column.name)
        entries.append(_covariate(name, name, "categorical" if is_categorical(column) else "numeric"))
    listed = [entry for entry in entries if entry]
    yield "features:"
    if not listed:
        yield "  covariates: []"
        return
    yield "  covariates:   # DECIDE: take out what was not known on the index date, or holds the outcome"
    yield from listed


def _covariate(name: str, column: str, kind: str) -> str:
    return f"    - {{name: {name}, table: patient_journeys, column: {column}, dtype: {kind}}}"


def _text(value: str) -> str:
    is_plain = _PLAIN.fullmatch(value) and value.lower() not in _RESERVED
    return value if is_plain else json.dumps(value, ensure_ascii=False)
