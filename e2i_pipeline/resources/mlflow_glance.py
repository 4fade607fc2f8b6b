"""What MLflow's own SQLite file says, read without MLflow, whose import takes seconds.

A run that finds everything done asks only whether things are still there; it need not pay for MLflow. The tables are
MLflow's own (seen with 3.17), so a test holds these answers against its client's. A server, another database or an
unreadable file is never guessed at: the caller asks MLflow then.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from e2i_pipeline.resources.sqlite_glance import all_rows, first_row, sqlite_file

_READY = 2  # mlflow.entities.LoggedModelStatus.READY, as the table has it

_RUN = """
    SELECT r.run_uuid FROM runs r
    JOIN experiments e ON e.experiment_id = r.experiment_id
    JOIN tags t ON t.run_uuid = r.run_uuid
    WHERE t.key = ? AND t.value = ? AND r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active'
      AND substr(e.name, 1, length(?)) = ?
    ORDER BY r.start_time, r.run_uuid LIMIT 1
"""
_VERSION = """
    SELECT v.version FROM model_versions v
    JOIN model_version_tags t ON t.name = v.name AND t.version = v.version
    WHERE v.name = ? AND v.version = ? AND t.key = ? AND t.value = ? AND v.current_stage <> 'Deleted_Internal'
"""
_HOLDER = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
_STAGED = """
    SELECT DISTINCT t.value, v.name, v.version FROM model_versions v
    JOIN model_version_tags t ON t.name = v.name AND t.version = v.version AND t.key = ?
    LEFT JOIN registered_model_aliases a ON a.name = v.name AND a.version = v.version
    LEFT JOIN model_version_tags s ON s.name = v.name AND s.version = v.version AND s.key = ?
    WHERE v.current_stage <> 'Deleted_Internal' AND (a.alias IN ({stages}) OR s.value IN ({stages}))
"""
_MODEL = "SELECT artifact_location FROM logged_models WHERE model_id = ? AND lifecycle_stage = 'active' AND status = ?"
_EXPERIMENT_TAGS = """
    SELECT e.name, t.value FROM experiment_tags t JOIN experiments e ON e.experiment_id = t.experiment_id
    WHERE t.key = ? AND substr(e.name, 1, length(?)) = ? ORDER BY e.name
"""


class Seen(NamedTuple):
    """An answer from the file: `value` is None where there is no such thing."""

    value: str | None


class Glance:
    """One look into MLflow's database.

    Each method gives None where the database cannot be read in this way.

    Args:
        uri: The tracking URI.
    """

    def __init__(self, uri: str) -> None:
        self._file = sqlite_file(uri)

    def run(self, tag: str, value: str, prefix: str) -> Seen | None:
        """The oldest active run with this tag in an experiment whose name has this prefix."""
        return self._first(_RUN, (tag, value, prefix, prefix))

    def version(self, name: str, version: str, tag: str, value: str) -> Seen | None:
        """The registered version, if it has this tag."""
        return self._first(_VERSION, (name, int(version), tag, value))

    def holder(self, name: str, alias: str) -> Seen | None:
        """Number of the version that an alias names."""
        return self._first(_HOLDER, (name, alias))

    def staged(self, tag: str, stage_tag: str, stages: Sequence[str]) -> list[tuple[str, str, int]] | None:
        """Tag, name and number of each version that one of these aliases names, or whose stage's tag says so."""
        query = _STAGED.format(stages=", ".join("?" for _ in stages))
        try:
            return all_rows(self._file, query, (tag, stage_tag, *stages, *stages)) if self._file else None
        except sqlite3.Error:
            return None

    def model(self, model_id: str) -> Seen | None:
        """Where the files of a finished logged model lie."""
        return self._first(_MODEL, (model_id, _READY))

    def experiment_tags(self, tag: str, prefix: str) -> dict[str, str] | None:
        """A tag's value per experiment that has it, of those whose name has this prefix."""
        if self._file is None:
            return None
        try:
            return {
                str(name): str(value) for name, value in all_rows(self._file, _EXPERIMENT_TAGS, (tag, prefix, prefix))
            }
        except sqlite3.Error:
            return None

    def _first(self, query: str, values: Sequence[Any]) -> Seen | None:
        if self._file is None:
            return None
        try:
            row = first_row(self._file, query, values)
        except sqlite3.Error:
            return None
        return Seen(str(row[0]) if row else None)


def has_files(location: str) -> bool:
    """Whether a logged model's package is where MLflow says; what does not lie on this machine is taken to be there."""
    parts = urlsplit(location)
    if parts.scheme not in ("", "file"):
        return True
    return (Path(unquote(parts.path) if parts.scheme else location) / "MLmodel").is_file()
