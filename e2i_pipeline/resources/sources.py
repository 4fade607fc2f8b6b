"""The source of patient journeys, whatever its kind: lands each table as an immutable, pseudonymized snapshot.

Direct identifiers and raw ids never reach the staging folder. How a kind is read stands in `connectors/`, how its rows
become canonical in `domain/landing.py`; whether they are good is the gate's to say.
"""

import json
import shutil
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.cohort import Absences, CohortDefinition, History, KnownAt
from e2i_pipeline.contracts.mapping import TableMapping
from e2i_pipeline.contracts.references import DefectCount, TableRef
from e2i_pipeline.contracts.tables import KNOWN_AT, SUPERSEDED_AT, TABLES, TableSchema
from e2i_pipeline.domain import landing, privacy, versions
from e2i_pipeline.errors import E2IError, SourceError, ToolUnavailable
from e2i_pipeline.resources.connectors.base import Connector
from e2i_pipeline.resources.connectors.registry import Place, connector_of, whereabouts
from e2i_pipeline.resources.engine import EngineResource, WrittenTable, parquet
from e2i_pipeline.resources.history import Pulls, pulls_of, with_deletions
from e2i_pipeline.resources.state_folder import StateFolder
from e2i_pipeline.storage.keeping import keep_for_use
from e2i_pipeline.storage.references import write_json

if TYPE_CHECKING:
    import duckdb

_CODE = code_version(
    "contracts/tables.py", "domain", "resources/connectors", "resources/history.py", "resources/sources.py"
)
"""What of our code decides how an input is landed."""

_READ = "e2i_read"
"""Temporary table of the rows as read: it holds the source's own identifiers, and is gone with the connection."""


class SourceResource(dg.ConfigurableResource):
    """The one source of a state folder.

    Attributes:
        kind: `synthetic`, `files`, `omop`, `synthea` or `postgres`.
        location: Where the input lies; empty for `synthetic`.
        state_dir: The state folder.
        brands: Configured brands; an OMOP or Synthea drop holds one.
        cohort: How patients become journeys (`CohortDefinition`).
        known_at: When a row became known (`KnownAt`).
        absent: What the source cannot have (`Absences`).
        history: How it restates and deletes (`History`).
        tables: How its own tables become canonical ones (`TableMapping` by canonical table).
        url: Address of a database, which may carry a password; empty for kinds without one.
        options: The kind's own settings, e.g. `{"seed": 7, "journeys_per_brand": 20000}`.
        covariates: Columns beyond the data dictionary that are landed too: DuckDB type by column, per table.
        engine: Computes and writes the snapshots.
    """

    kind: str
    location: str = ""
    state_dir: str
    brands: list[str]
    # Plain `dict`, not `dict[str, Any]`: Dagster refuses a None in the latter ("Null map member").
    cohort: dict
    known_at: dict
    absent: dict
    history: dict = {"restated": [], "tombstones": {}}  # noqa: RUF012 - pydantic copies a default
    options: dict
    tables: dict = {}  # noqa: RUF012 - pydantic copies a default
    url: str = ""
    covariates: dict = {}  # noqa: RUF012 - pydantic copies a default
    engine: EngineResource

    def fingerprint(self, table: str) -> str:
        """Identifies the input behind a table without reading it; `absent` for a declared-absent table.

        Raises:
            SourceError: The input is not there.
            ConfigurationError: The source is configured in contradiction to itself.
        """
        if table in self._absences().tables:
            return "absent"
        return self._connector().fingerprint(table)

    def is_landed(self, table: str) -> bool:
        """Whether `stage` will find the present input landed, and so has nothing to read.

        Raises:
            SourceError: The input is not there.
            StateFolderConflict: The state folder holds another source's world.
            ConfigurationError: As for `stage`.
        """
        absent, folder = self._absences(), self._claimed()
        if table in absent.tables:
            return True
        schema = self._schema(table)
        columns = absent.columns.get(table, ())
        key = self._key(schema, columns, folder.pseudonym_key(), self._connector().fingerprint(table))
        return _is_whole(self._recall(table, key))

    def stage(self, table: str, now: datetime) -> TableRef:
        """Lands a table, or finds it landed: the same input under the same settings is read once.

        Args:
            table: Canonical table name.
            now: When (UTC).

        Returns:
            The snapshot; an absent one where the source declares that it cannot have the table, or where an optional
            table has no input.

        Raises:
            SourceError: The input is missing, unreadable, lacks a required column, or changed while it was read.
            StateFolderConflict: The state folder holds another source's world.
            ConfigurationError: The state folder cannot be written, the declared absences contradict the tables, or a
                covariate is a direct identifier.
            ToolUnavailable: Memory or disk did not suffice.
        """
        schema, absent = self._schema(table), self._absences()
        folder = self._claimed()
        if table in absent.tables:
            return _absent(schema, content_key("declared absent", table))
        connector, secret = self._connector(), folder.pseudonym_key()
        # Of several processes one lands the table; the others find its snapshot, and the moment it was landed.
        with folder.turn(f"stage-{table}"):
            return self._landed(connector, secret, schema, absent.columns.get(table, ()), now)

    def _landed(
        self, connector: Connector, secret: bytes, schema: TableSchema, columns: Collection[str], now: datetime
    ) -> TableRef:
        table, before = schema.name, connector.fingerprint(schema.name)
        key = self._key(schema, columns, secret, before)
        kept = self._recall(table, key)
        if kept is not None and _is_whole(kept):
            return kept[0]
        if kept is not None:
            shutil.rmtree(Path(kept[0].location).parent, ignore_errors=True)  # damaged: it is landed again
        with self.engine.connect(is_private=True) as connection:
            connection.execute("SET preserve_insertion_order = false")  # put in a total order when they are written
            _install_pads(connection, secret)
            reference = self._land(connection, connector, schema, columns, before)
        if reference is None:
            reference = _absent(schema, key, (_no_input(schema),))
            write_json(self._record(table, key), {"bytes": -1, "table": reference.model_dump(mode="json")})
            return reference
        is_same = kept is not None and kept[0].version == reference.version
        reference = reference.model_copy(
            update={"key": key, "landed_at": kept[0].landed_at if is_same and kept else now}
        )
        write_json(
            self._record(table, key),
            {"bytes": _size(reference.location), "table": reference.model_dump(mode="json")},
        )
        return reference

    def _claimed(self) -> StateFolder:
        folder = StateFolder(self.state_dir)
        folder.claim(self.kind, whereabouts(self.kind, self.location, self.url))
        return folder

    def _schema(self, table: str) -> TableSchema:
        return landing.with_covariates(TABLES[table], self.covariates.get(table, {}))

    def _key(self, schema: TableSchema, columns: Collection[str], secret: bytes, fingerprint: str) -> str:
        """Content key of the snapshot of one input."""
        return content_key(
            _CODE, fingerprint, self.known_at, sorted(columns), schema, privacy.key_id(secret), self.kind, self.history
        )

    def _absences(self) -> Absences:
        absent = Absences.model_validate(self.absent)
        landing.check_absences(absent)
        return absent

    def _history(self) -> History:
        history = History.model_validate(self.history)
        landing.check_history(history)
        return history

    def _connector(self) -> Connector:
        return connector_of(
            self.kind,
            self.options,
            Place(
                location=self.location,
                url=self.url,
                state_dir=self.state_dir,
                brands=tuple(self.brands),
                cohort=CohortDefinition.model_validate(self.cohort),
                tables={name: TableMapping.model_validate(mapping) for name, mapping in self.tables.items()},
                covariates=self.covariates,
                absent=Absences.model_validate(self.absent).columns,
                history=self._history(),
            ),
        )

    def _land(
        self,
        connection: "duckdb.DuckDBPyConnection",
        connector: Connector,
        schema: TableSchema,
        absent: Collection[str],
        before: str,
    ) -> TableRef | None:
        """Reads the input once into a temporary table, and writes that with pseudonyms; None where there is none."""
        import duckdb

        try:
            pulls = pulls_of(connector, self.state_dir, schema.name, self._claimed().pseudonym_key())
            query = connector.query(connection, schema.name)
            if query is None:
                return self._nothing(schema)
            found = {name: dtype for name, dtype, *_ in connection.execute(f"DESCRIBE {query}").fetchall()}
            plan = landing.plan(schema, found, absent, self._history())
            plan = with_deletions(plan) if pulls else plan
            _require_columns(plan, list(found))
            connection.execute(f"CREATE TEMP TABLE {_READ} AS {landing.read_sql(plan, query)}")
            met = connector.defects(connection, schema.name)
        except SourceError:
            # What looks wrong may only be that two reads met two versions of the input.
            if _has_changed(connector, schema.name, before):
                raise _changed(schema.name) from None
            raise
        except (duckdb.Error, OSError) as err:
            # The engine quotes what it could not read, and that may be a patient's value: not a word of it goes on.
            raise self._unreadable(connector, schema.name, before, err) from None
        if _has_changed(connector, schema.name, before):
            raise _changed(schema.name)
        try:
            return self._write(connection, plan, tuple(met), absent, pulls)
        except (duckdb.Error, OSError) as err:
            raise ToolUnavailable(
                f"{schema.name} was read and could not be written to {self._folder(schema.name)} "
                f"({type(err).__name__}). Make room on that disk, or lower the engine's memory limit, and run again."
            ) from None

    def _nothing(self, schema: TableSchema) -> None:
        if not schema.is_optional:
            raise SourceError(
                f"The {self.kind} source at {self.location or self.state_dir} holds nothing for {schema.name}. Add its "
                "input, or declare the table in source.absent.tables."
            )

    def _unreadable(self, connector: Connector, table: str, before: str, err: Exception) -> Exception:
        import duckdb

        if isinstance(err, duckdb.OutOfMemoryException):
            return ToolUnavailable(f"{table} did not fit into the engine's memory while it was read. Raise its limit.")
        if _has_changed(connector, table, before):
            return _changed(table)
        # What a store's library raises comes as the engine's plain error, the root of all its others.
        is_lost = isinstance(err, (duckdb.IOException, OSError)) or type(err) is duckdb.Error
        if "://" in self.location and is_lost:
            return ToolUnavailable(
                f"The input of {table} at {self.location} could not be read to its end ({type(err).__name__}): its "
                "store went away, or a file there is cut short. Nothing of it was kept; run again."
            )
        explain = getattr(connector, "explain", None)
        if explain is not None:
            said = explain(table, err)
            return said if isinstance(said, E2IError) else SourceError(said)
        return SourceError(
            f"The {self.kind} source's input for {table} at {self.location or self.state_dir} cannot be read as "
            f"declared ({type(err).__name__} in the engine). Check its files and source.{self.kind}."
        )

    def _write(
        self,
        connection: "duckdb.DuckDBPyConnection",
        plan: landing.Plan,
        met: tuple[DefectCount, ...],
        absent: Collection[str],
        pulls: Pulls | None,
    ) -> TableRef:
        known_at = KnownAt.model_validate(self.known_at)
        rows, *counts = _row(connection, landing.defects_sql(plan, _READ))
        lacking, timeless = _row(connection, versions.known_at_defects_sql(plan, known_at, _READ))
        for name, statement in landing.pseudonym_maps(plan, _READ).items():
            connection.execute(f"CREATE TEMP TABLE {name} AS {statement}")
        landed = f"({landing.landed_sql(plan, _READ)})"
        if pulls is not None:
            landed = pulls.add(connection, plan, landed)
        written = self.engine.write(
            connection,
            versions.known_sql(plan, known_at, landed),
            self._folder(plan.schema.name),
            order_by=_order(plan),
        )
        return TableRef(
            key="",
            name=plan.schema.name,
            location=written.location,
            version=written.version,
            rows=written.rows,
            columns=written.columns,
            absent_columns=tuple(sorted(absent)),
            known_until=_known_until(connection, written),
            defects=(
                *met,
                *landing.defects(plan, rows, counts),
                *versions.known_at_defects(plan, known_at, rows, lacking, timeless),
            ),
        )

    def _folder(self, table: str) -> Path:
        return Path(self.state_dir) / "staging" / table

    def _record(self, table: str, key: str) -> Path:
        return self._folder(table) / "keys" / f"{key}.json"

    def _recall(self, table: str, key: str) -> tuple[TableRef, int] | None:
        """The snapshot landed under this key and its size in bytes, whether it is still whole or not."""
        try:
            stored = json.loads(self._record(table, key).read_text(encoding="utf-8"))
            reference, size = TableRef.model_validate(stored["table"]), int(stored["bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        keep_for_use(reference)
        return reference, size


def _install_pads(connection: "duckdb.DuckDBPyConnection", secret: bytes) -> None:
    """Gives the connection the key's pads, by bound parameters: as SQL text they could reach a log."""
    connection.execute(f"CREATE TEMP TABLE {privacy.PADS} (ipad BLOB, opad BLOB)")
    connection.execute(f"INSERT INTO {privacy.PADS} VALUES (?, ?)", privacy.pads(secret))


def _order(plan: landing.Plan) -> tuple[str, ...]:
    """A table is read patient by patient, or HCP by HCP; so ordered, it also takes a third less room."""
    names = ("patient_id", "hcp_id", KNOWN_AT, plan.schema.columns[0].name)
    return tuple(dict.fromkeys(name for name in names if name == KNOWN_AT or plan.has(name)))


def _absent(schema: TableSchema, key: str, defects: tuple[DefectCount, ...] = ()) -> TableRef:
    return TableRef(key=key, name=schema.name, version="absent", is_absent=True, defects=defects)


def _no_input(schema: TableSchema) -> DefectCount:
    return DefectCount(
        table=schema.name,
        defect="no input for this optional table",
        rows=0,
        of_rows=0,
        treatment="left out, with the features that need it",
    )


def _has_changed(connector: Connector, table: str, before: str) -> bool:
    """Whether a table changed while it was read, of a source that does not show one moment of itself to its reader."""
    return not getattr(connector, "reads_one_moment", False) and _fingerprint_or_none(connector, table) != before


def _fingerprint_or_none(connector: Connector, table: str) -> str | None:
    try:
        return connector.fingerprint(table)
    except (SourceError, OSError):
        return None


def _changed(table: str) -> SourceError:
    return SourceError(
        f"The input of {table} changed while it was read; nothing of it was kept. Run again when it is complete. A "
        "drop is best written under another name and renamed."
    )


def _require_columns(plan: landing.Plan, found: list[str]) -> None:
    if plan.missing:
        raise SourceError(landing.missing_columns_message(plan, found))


def _row(connection: "duckdb.DuckDBPyConnection", query: str) -> tuple[int, ...]:
    return connection.execute(query).fetchone() or ()


def _known_until(connection: "duckdb.DuckDBPyConnection", written: WrittenTable) -> datetime | None:
    """When the last was heard of the table: a deletion is heard of too."""
    times = [KNOWN_AT, SUPERSEDED_AT] if any(c.name == SUPERSEDED_AT for c in written.columns) else [KNOWN_AT]
    latest = f"SELECT greatest({', '.join(f'max({time})' for time in times)}) FROM {parquet(written.location)}"
    (moment,) = connection.execute(latest).fetchone() or (None,)
    return None if moment is None else moment.replace(tzinfo=UTC)


def _is_whole(kept: tuple[TableRef, int] | None) -> bool:
    """Whether a snapshot that was landed is still there as it was; an absent table has nothing to lose."""
    return kept is not None and (kept[0].is_absent or _size(kept[0].location) == kept[1])


def _size(location: str) -> int:
    """Bytes of a file; -1 where there is none."""
    try:
        return Path(location).stat().st_size
    except OSError:
        return -1
