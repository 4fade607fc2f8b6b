"""Which connector reads which kind of source. Each is imported when its kind is chosen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from e2i_pipeline.contracts.cohort import CohortDefinition, History
from e2i_pipeline.contracts.mapping import TableMapping
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.resources.connectors.base import Connector


class Place(NamedTuple):
    """Where a source is and what it is read for, whatever its kind.

    Attributes:
        location: Folder or URL of its files; empty where it has none.
        url: Address of its database, which may carry a password: for no message. Empty where it has none.
        state_dir: The state folder.
        brands: Configured brands.
        cohort: How patients become journeys.
        tables: How its own tables become canonical ones (`source.tables`), for the kinds in `MAPPED`.
        covariates: Columns beyond the data dictionary that are landed: DuckDB type by column, per table.
        absent: Columns that the source declares it cannot have, per table.
        history: How it restates and deletes.
    """

    location: str
    url: str
    state_dir: str
    brands: tuple[str, ...]
    cohort: CohortDefinition
    tables: Mapping[str, TableMapping] = MappingProxyType({})
    covariates: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    absent: Mapping[str, Sequence[str]] = MappingProxyType({})
    history: History = History()


def whereabouts(kind: str, location: str, url: str) -> str:
    """What is said of a source's place: of a database without user, password and port; empty where it has none.

    Raises:
        ConfigurationError: The address of the database cannot be understood.
    """
    if kind == "postgres" and url:
        from e2i_pipeline.resources.connectors.postgres_session import host_and_database

        return host_and_database(url)
    is_path = location and "://" not in location
    return str(Path(location).expanduser().absolute()) if is_path else location


def connector_of(kind: str, options: Mapping[str, Any], place: Place) -> Connector:
    """The connector of a kind of source.

    Args:
        kind: `source.kind`.
        options: The kind's own settings.
        place: Where it is.

    Raises:
        ConfigurationError: There is no such kind, or its settings contradict themselves.
    """
    if kind not in _KINDS:
        raise ConfigurationError(f"source.kind is {kind}; there are {', '.join(_KINDS)}.")
    if place.tables and kind not in MAPPED:
        raise ConfigurationError(
            f"source.tables maps {', '.join(place.tables)}, and source.kind is {kind}, whose tables have names of "
            f"their own. Mappings are for {', '.join(MAPPED)}: take source.tables out, or choose another kind."
        )
    return _KINDS[kind](options, place)


def _synthetic(options: Mapping[str, Any], place: Place) -> Connector:
    from e2i_pipeline.resources.connectors.synthetic import SyntheticConnector

    window = place.cohort.outcome_window_days
    return SyntheticConnector(place.state_dir, list(place.brands), outcome_window_days=window, **options)


def _files(options: Mapping[str, Any], place: Place) -> Connector:
    from e2i_pipeline.resources.connectors.files import FilesConnector

    further = {
        table: [*place.covariates.get(table, {}), *filter(None, [place.history.tombstones.get(table)])]
        for table in {*place.covariates, *place.history.tombstones}
    }
    return FilesConnector(place.location, **options, tables=place.tables, covariates=further)


def _omop(options: Mapping[str, Any], place: Place) -> Connector:
    from e2i_pipeline.resources.connectors.omop import OmopConnector

    return OmopConnector(place.location, place.cohort, _one_brand("omop", place), **options)


def _synthea(options: Mapping[str, Any], place: Place) -> Connector:
    from e2i_pipeline.resources.connectors.synthea import SyntheaConnector

    return SyntheaConnector(place.location, place.cohort, _one_brand("synthea", place), **options)


def _postgres(options: Mapping[str, Any], place: Place) -> Connector:
    from e2i_pipeline.resources.connectors.postgres import PostgresConnector

    return PostgresConnector(
        place.url, place.covariates, place.absent, place.history.tombstones, place.tables, **options
    )


def _one_brand(kind: str, place: Place) -> str:
    if len(place.brands) != 1:
        raise ConfigurationError(
            f"source.kind is {kind}, whose one cohort is one brand; brands names {len(place.brands)}. Name one."
        )
    return place.brands[0]


MAPPED = ("files", "postgres")
"""The kinds whose tables have whatever names their owner gave them."""

_KINDS = {"synthetic": _synthetic, "files": _files, "omop": _omop, "synthea": _synthea, "postgres": _postgres}
