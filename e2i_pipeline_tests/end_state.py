"""What a run has left behind in a state folder, as plain values that two folders can be compared by. Tests only.

It reads the stores themselves, not through the product: SQLite, JSON and files. What may differ between two runs of the
same thing is left out: times, durations, ids that a tool draws by chance, and where the folder lies.
"""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

State = dict[str, Any]

_VOLATILE = {
    "landed_at",
    "seconds",
    "rows_per_second",
    "mlflow_run_id",
    "mlflow_experiment_id",  # counted up: whoever comes first has 1
    "model_uri",
    "trials",  # a trial that was killed is told as failed
    "recorded_at",
    "registered_at",
    "stage_changed_at",
    "status_changed_at",
    "decided_at",
    "started_at",
    "ended_at",
    "dagster_run_id",
    "data_docs",
}
_OWN = {
    # what explains a version is kept by the MLflow run that it came from, too; the values' hash is compared
    "shap_analysis": {"key", "location", "plot"},
    # pages tell how long things took
    "model_card": {"version", "key", "location"},
    "run_report": {"version", "key"},
    # the stage of the moment: the registry's own stages and aliases are compared
    "registered_model": {"stage"},
    # these name the MLflow run; and a champion that was promoted before the kill is found to be champion already
    "promoted_model": {"key", "reason"},
    "batch_predictions": {"key"},
}
"""What the reference of an asset says that may be another each time."""

_RECORDS = {
    "ml_data_quality_reports": ("id",),
    "ml_deployments": (),
    "ml_experiments": (),
    "ml_feature_store": (),
    "ml_gate_verdicts": (),
    # side by side, entries of several brands come in any order; each of them must be there, and once
    "ml_ledger": ("sequence", "prev_hash", "hash", "at"),
    "ml_model_registry": (),
    "ml_shap_analyses": ("id", "attribution_key", "location"),
    # the occasion of a reading names the MLflow run
    "ml_test_readings": ("id", "occasion", "read_at"),
    "ml_training_runs": (),
}
"""The metadata tables, each with the columns that depend on the Dagster run."""

_SCRATCH = re.compile(r"\.writing-|^\.[^/]+[.-][0-9a-f]{16,32}$|^tmp[a-z0-9_]{8}$|^__pycache__$")
"""Names of what is written before it is moved into place."""


def end_state(root: Path) -> State:
    """Everything that counts about a state folder, by name."""
    return {
        **dict(_references(root)),
        **dict(_tables(root)),
        **dict(_tracking(root)),
        **dict(_metadata(root)),
        **dict(_feast(root)),
        **dict(_bentos(root)),
    }


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs, one line each."""
    lines: list[str] = []
    for name in sorted({*expected, *found}):
        if name not in found:
            lines.append(f"{name}: missing")
        elif name not in expected:
            lines.append(f"{name}: too much, {found[name]!r}"[:600])
        elif expected[name] != found[name]:
            lines.append(f"{name}: {expected[name]!r}\n    became {found[name]!r}"[:3000])
    return lines


def scratch(root: Path) -> list[str]:
    """What was begun and never moved into place."""
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if _SCRATCH.search(p.name))


def _references(root: Path) -> Iterator[tuple[str, Any]]:
    """The current references, the manifests, and what is deployed."""
    for path in sorted((root / "references" / "current").rglob("*.json")):
        asset = path.parent.name
        content = _plain(json.loads(path.read_text(encoding="utf-8")), root)
        for field in _OWN.get(asset, ()):
            content["reference"].pop(field, None)
        yield f"reference {asset}/{path.stem}", content
    for place in ("published", "deployment"):
        for path in sorted((root / place).rglob("*.json")):
            yield f"file {path.relative_to(root)}", _plain(json.loads(path.read_text(encoding="utf-8")), root)


def _tables(root: Path) -> Iterator[tuple[str, Any]]:
    """Every table, by its hash: a version more or less is a difference."""
    for place in ("staging", "features", "training", "predictions", "published", "synthetic", "models", "evaluations"):
        for path in sorted((root / place).rglob("*")):
            is_scratch = any(_SCRATCH.search(part) for part in path.relative_to(root).parts)
            if path.suffix in (".parquet", ".ubj", ".skops") and not is_scratch:
                yield f"table {path.relative_to(root)}", hashlib.sha256(path.read_bytes()).hexdigest()


def _trials(database: Path, tagged: list[Any]) -> Iterator[tuple[str, Any]]:
    """The nested runs of finished trials, by what they tried: one that was killed is told as failed, and counts."""
    keys = {run: tags.get("e2i.training_key") for run, *_, tags in tagged}
    found = []
    for run, _, status, stage, tags in tagged:
        if tags.get("e2i.trial_state", "FAIL") != "FAIL":
            params = sorted(_rows(database, "SELECT key, value FROM params WHERE run_uuid = ?", run))
            found.append((keys[tags["mlflow.parentRunId"]], status, stage, params))
    yield "mlflow trials", sorted(found, key=repr)


def _tracking(root: Path) -> Iterator[tuple[str, Any]]:
    database = root / "mlflow" / "mlflow.db"
    if not database.is_file():
        return
    runs = "SELECT r.run_uuid, e.name, r.status, r.lifecycle_stage FROM runs r JOIN experiments e USING (experiment_id)"
    tagged = [
        (*row, dict(_rows(database, "SELECT key, value FROM tags WHERE run_uuid = ?", row[0])))
        for row in _rows(database, runs)
    ]
    yield from _trials(database, tagged)
    trainings = [row for row in tagged if "e2i.trial" not in row[-1]]
    for run, experiment, status, stage, tags in trainings:
        name = f"mlflow run {experiment}/{tags.get('e2i.training_key')}"
        yield f"{name} of {len(trainings)}", f"{status} {stage}"
        params = dict(_rows(database, "SELECT key, value FROM params WHERE run_uuid = ?", run))
        yield f"{name} params", params
        yield (
            f"{name} metrics",
            sorted(
                key for (key,) in _rows(database, "SELECT DISTINCT key FROM latest_metrics WHERE run_uuid = ?", run)
            ),
        )
    yield (
        "mlflow models",
        _rows(
            database,
            "SELECT m.name, m.status, t.tag_value FROM logged_models m LEFT JOIN logged_model_tags t ON t.model_id = "
            "m.model_id AND t.tag_key = 'e2i.files_sha256' WHERE m.lifecycle_stage = 'active' ORDER BY 1, 2, 3",
        ),
    )
    yield "mlflow versions", _rows(database, "SELECT name, version, status FROM model_versions ORDER BY 1, 2")
    yield (
        "mlflow version tags",
        _rows(database, "SELECT name, version, key, value FROM model_version_tags ORDER BY 1, 2, 3"),
    )
    yield "mlflow aliases", _rows(database, "SELECT name, alias, version FROM registered_model_aliases ORDER BY 1, 2")
    yield "mlflow experiments", _rows(database, "SELECT name, lifecycle_stage FROM experiments ORDER BY 1")


def _metadata(root: Path) -> Iterator[tuple[str, Any]]:
    database = root / "metadata.db"
    if not database.is_file():
        return
    for table, left_out in _RECORDS.items():
        kept = [
            _plain({k: v for k, v in row.items() if k not in left_out}, root)
            for row in _dicts(database, f"SELECT * FROM {table}")
        ]
        rows = [json.dumps(row, sort_keys=True) for row in kept]
        # one audit may have been cut short after its report: then it is told twice, once per Dagster run
        yield f"metadata {table}", sorted(set(rows) if table == "ml_data_quality_reports" else rows)


def _feast(root: Path) -> Iterator[tuple[str, Any]]:
    registry, online = root / "feast" / "registry.db", root / "feast" / "online.db"
    if registry.is_file():
        for table in ("projects", "entities", "data_sources", "feature_views", "feature_services"):
            names = [row[0] for row in _rows(registry, f"SELECT * FROM {table}")]
            yield f"feast {table}", sorted(names)
    if online.is_file():
        for (table,) in _rows(online, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1"):
            digest = hashlib.sha256()
            for row in _rows(online, f"SELECT entity_key, feature_name, value, event_ts FROM {table} ORDER BY 1, 2"):
                digest.update(repr(row).encode())
            yield f"feast online {table}", digest.hexdigest()


def _bentos(root: Path) -> Iterator[tuple[str, Any]]:
    """Bentos and models of the store with the names of their files; those of a half-built one are fewer."""
    for store in ("bentos", "models"):
        folder = root / "bentoml" / store
        for path in sorted(folder.glob("*/*")):
            if path.is_dir():
                files = [str(p.relative_to(path)) for p in path.rglob("*") if p.is_file() and p.suffix != ".pyc"]
                yield f"{store} {path.relative_to(folder)}", sorted(files)
            else:
                yield f"{store} {path.relative_to(folder)}", path.read_text(encoding="utf-8")


def _plain(value: Any, root: Path) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each, root) for key, each in value.items() if key not in _VOLATILE}
    if isinstance(value, list):
        return [_plain(each, root) for each in value]
    return value.replace(str(root), "{state}") if isinstance(value, str) else value


def _rows(database: Path, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with sqlite3.connect(database) as connection:
        return connection.execute(query, values).fetchall()


def _dicts(database: Path, query: str) -> list[dict[str, Any]]:
    with sqlite3.connect(database) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def _one(database: Path, query: str) -> Any:
    return _rows(database, query)[0][0]
