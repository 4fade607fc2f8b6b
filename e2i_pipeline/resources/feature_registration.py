"""Registers a feature: a covariate that is checked against what is configured and staged, then written down.

It goes into the user's own configuration file, which is the only place where a feature is declared; from there it flows
through every stage. What a covariate may be stands in `config/schema.py` and `domain/features.py`, how a file is
changed in `config/covariate_text.py`.
"""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from e2i_pipeline.config.covariate_text import with_covariate
from e2i_pipeline.config.feature_schema import Covariate
from e2i_pipeline.config.schema import Settings
from e2i_pipeline.contracts.references import FeatureSpec, TableRef
from e2i_pipeline.contracts.tables import DIRECT, IDENTIFIER, QUASI, TABLES
from e2i_pipeline.domain.features import COVARIATE_VIEWS, covariate_column, covariate_feature, model_features, plan_view
from e2i_pipeline.domain.landing import with_covariates
from e2i_pipeline.errors import ConfigurationError, ReferenceNotFound
from e2i_pipeline.storage.references import ReferenceIOManager, write_text

NEW_FILE = "e2i-features.yaml"
"""Configuration file that is begun where `E2I_CONFIG` names none."""


class Registration(NamedTuple):
    """What came of a registration.

    Attributes:
        feature: The feature as a model will see it.
        stored: Columns that its feature table gets.
        entry: The entry in the configuration.
        file: The configuration file.
        is_written: Whether the file was changed.
        is_there: Whether the feature was registered so already.
        is_new_file: Whether the file is not the one that `E2I_CONFIG` names.
        notes: What could not be checked, or is worth a thought.
    """

    feature: FeatureSpec
    stored: tuple[str, ...]
    entry: dict[str, Any]
    file: Path
    is_written: bool
    is_there: bool
    is_new_file: bool
    notes: tuple[str, ...]


def staged_tables(state_dir: str | Path) -> dict[str, TableRef]:
    """The source tables that were staged last, by canonical name; those that never were are left out."""
    store = ReferenceIOManager(root=str(Path(state_dir) / "references"))
    found: dict[str, TableRef] = {}
    for table in TABLES:
        try:
            reference = store.current(table)
        except ReferenceNotFound:
            continue
        if isinstance(reference, TableRef):
            found[table] = reference
    return found


def register_feature(
    chosen: Settings,
    staged: Mapping[str, TableRef],
    environ: Mapping[str, str],
    *,
    name: str,
    table: str,
    column: str,
    dtype: str,
    aggregation: str = "latest",
    window: int | None = None,
    low: float | None = None,
    high: float | None = None,
    file: Path | None = None,
    dry_run: bool = False,
) -> Registration:
    """Registers a feature by one entry of `features.covariates`.

    Args:
        chosen: The settings in effect.
        staged: The staged source tables by canonical name.
        environ: The environment that the settings were read from.
        name: Name of the feature.
        table: Source table that it is computed from.
        column: Column of that table.
        dtype: `numeric`, `categorical` or `boolean`.
        aggregation: `latest`, `count`, `sum`, `mean`, `min` or `max`.
        window: Days before the prediction time whose rows count; None: all that is known.
        low: Smallest value that makes sense.
        high: Largest value that makes sense.
        file: Configuration file to write; by default the one that `E2I_CONFIG` names, else a new one.
        dry_run: Only check, and say what would be written.

    Returns:
        What was done. The same feature again changes nothing.

    Raises:
        ConfigurationError: The feature conflicts with one that is there, its column is not delivered, of another type,
            an outcome or an identifier, or the file cannot be written.
    """
    asked = {"name": name, "table": table, "column": column, "dtype": dtype, "aggregation": aggregation}
    limits = {"window": window, "low": low, "high": high}
    covariate = _validated(asked | {key: value for key, value in limits.items() if value is not None})
    entry = _entry(covariate)
    is_there = _is_registered(covariate, chosen)
    others = [c for c in chosen.features.covariates if c.name != name]
    plan = plan_view(COVARIATE_VIEWS[table], staged, [c.model_dump() for c in (*others, covariate)])
    notes = _check_column(covariate, staged)
    spec = next((s for s in model_features([plan]) if s.name == name), None)
    if spec is None and not (staged.get(table) and not staged[table].has(column) and notes):
        raise ConfigurationError(f"{name} cannot be computed: {plan.left_out.get(name, 'its table is absent')}.")
    made = covariate_column(covariate.model_dump())
    target = file or Path(environ.get("E2I_CONFIG") or NEW_FILE)
    is_configured = bool(environ.get("E2I_CONFIG")) and target.absolute() == Path(environ["E2I_CONFIG"]).absolute()
    is_written = False
    if not is_there:
        text = _text(target, is_configured, environ)
        present = [_entry(c) for c in chosen.features.covariates]
        changed = with_covariate(text, entry, present, str(target))
        if not dry_run:
            _write(target, changed)
            is_written = True
    return Registration(
        feature=spec or covariate_feature(made),
        stored=tuple(s.name for s in made.stored),
        entry=entry,
        file=target,
        is_written=is_written,
        is_there=is_there,
        is_new_file=not is_configured,
        notes=notes,
    )


def _validated(asked: Mapping[str, Any]) -> Covariate:
    try:
        return Covariate.model_validate(asked)
    except ValidationError as err:
        problems = err.errors(include_input=False, include_url=False)
        said = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems)
        raise ConfigurationError(f"The feature cannot be registered: {said}. Nothing was written.") from None


def _entry(covariate: Covariate) -> dict[str, Any]:
    """What is written of a covariate: what differs from the defaults."""
    return covariate.model_dump(mode="json", exclude_defaults=True)


def _is_registered(covariate: Covariate, chosen: Settings) -> bool:
    known = next((c for c in chosen.features.covariates if c.name == covariate.name), None)
    if known is None or known == covariate:
        return known is not None
    differs = [key for key, value in known.model_dump().items() if value != getattr(covariate, key)]
    raise ConfigurationError(
        f"{covariate.name} is registered already, with another {', '.join(differs)}. Choose another name, or change "
        "the entry in features.covariates; nothing was written."
    )


def _check_column(covariate: Covariate, staged: Mapping[str, TableRef]) -> tuple[str, ...]:
    """Refuses a column that cannot be a feature; says what is worth a thought, or cannot be known yet."""
    where = f"{covariate.table}.{covariate.column}"
    schema, ref = TABLES[covariate.table], staged.get(covariate.table)
    known = next((c for c in schema.columns if c.name == covariate.column), None)
    if known is not None and known.privacy in (DIRECT, IDENTIFIER):
        raise ConfigurationError(f"{where} names a person or an organisation and tells nothing else: no feature.")
    with_covariates(schema, {covariate.column: "VARCHAR"})
    if ref is None:
        raise ConfigurationError(
            f"{covariate.table} was never staged in this state folder, so its columns are not known. Materialize it, "
            "then register the feature."
        )
    notes: list[str] = []
    if known is not None and known.privacy == QUASI:
        notes.append(f"{where} is a quasi-identifier: with others it may single out a person.")
    if ref.is_absent or (known is not None and not ref.has(covariate.column)):
        raise ConfigurationError(f"The source has no {where}: nothing to compute a feature from.")
    if not ref.has(covariate.column):
        left_out = f"{covariate.column}: not a column of the data dictionary"
        if not any(defect.defect.startswith(left_out) for defect in ref.defects):
            delivered = ", ".join(c.name for c in ref.columns)
            raise ConfigurationError(f"The source delivers no {where}. Staged are {delivered}.")
        notes.append(f"{where} was left out so far; it is landed, and its type checked, by the next run.")
    return tuple(notes)


def _text(target: Path, is_configured: bool, environ: Mapping[str, str]) -> str:
    """The text of the file to change.

    Raises:
        ConfigurationError: What is written there would not count, or it cannot be read.
    """
    if override := next((name for name in environ if name.upper().startswith("E2I__FEATURES__COVARIATES")), ""):
        raise ConfigurationError(f"{override} is set, and wins over any file: unset it first. Nothing was written.")
    if not target.exists():
        if is_configured:
            raise ConfigurationError(f"E2I_CONFIG names {target}, which is not there. Nothing was written.")
        return ""
    if not is_configured:
        raise ConfigurationError(
            f"{target} is there, and E2I_CONFIG does not name it, so that it does not count. Set E2I_CONFIG={target}, "
            "or name another file. Nothing was written."
        )
    try:
        with target.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigurationError(f"{target} cannot be read ({type(err).__name__}). Nothing was written.") from err


def _write(target: Path, text: str) -> None:
    place = target.resolve()  # a link stays one
    try:
        mode = place.stat().st_mode if place.exists() else None
        write_text(place, text)
        if mode is not None:
            place.chmod(stat.S_IMODE(mode))
    except OSError as err:
        raise ConfigurationError(
            f"{target} cannot be written: {err.strerror}. Name a file in a folder of yours."
        ) from err
