"""Runs the suites of `gx/` with Great Expectations, and builds its data docs."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.plain_script.data import PROJECT, moment
from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.domain.quality import suite_parameters

SUITES = PROJECT / "gx" / "expectations"
SPLITS = ("train", "validation", "test")
RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0, "exclude_unexpected_values": True}


class Audits:
    """The audits of one program: one context for all of them, its data docs built once."""

    def __init__(self, connection: Any, chosen: Mapping[str, Any], folder: Path) -> None:
        self._connection, self._chosen, self._folder = connection, chosen, folder

    def of_tables(self, tables: Mapping[str, TableRef]) -> dict[str, int]:
        """Audits each landed table.

        Returns:
            Expectations that passed, by table.

        Raises:
            SystemExit: One failed.
        """
        return {name: self._audit(table, f"e2i_{name}", "", tables) for name, table in tables.items()}

    def of_splits(self, table: TableRef) -> dict[str, int]:
        """Audits the modelling rows of each split that learns or is judged; see `of_tables`."""
        suite = self._chosen["great_expectations"]["default_suites"][self._chosen["problem_type"]]
        return {f"{table.name} {split}": self._audit(table, suite, split, {}) for split in SPLITS}

    def build_docs(self) -> None:
        """Writes the data docs of all audits."""
        backend = {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(self._folder / "data_docs"),
            "suppress_store_backend_id": True,
        }
        site = {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": backend,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
        self._context.add_data_docs_site("docs", site)
        self._context.build_data_docs(site_names=["docs"])

    @cached_property
    def _context(self) -> Any:
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        import great_expectations as gx
        from great_expectations.data_context.types import base

        config = base.DataContextConfig(
            store_backend_defaults=base.InMemoryStoreBackendDefaults(),
            progress_bars=base.ProgressBarsConfig(globally=False, metric_calculations=False),
            analytics_enabled=False,
        )
        return gx.get_context(mode="ephemeral", project_config=config)

    @cached_property
    def _source(self) -> Any:
        return self._context.data_sources.add_pandas("plain")

    def _audit(self, table: TableRef, suite: str, split: str, tables: Mapping[str, TableRef]) -> int:
        content = json.loads((SUITES / f"{suite}.json").read_text(encoding="utf-8"))
        known = table.known_until.isoformat() if table.known_until else ""
        unit = self._chosen["cohort"]["unit"]
        parameters = suite_parameters({"brands": self._chosen["brands"], "cohort_unit": unit, "as_of": known})
        expectations = list(_expectations(content, parameters))
        batch = self._connection.execute(_batch_sql(content, expectations, table, tables, split)).df()
        result = self._validated(table.name + split, expectations, _comparable(batch), parameters)
        if not result.success:
            raise SystemExit(f"{table.name} {split} fails its audit")
        return int(result.statistics["successful_expectations"])

    def _validated(self, name: str, expectations: list[Any], batch: Any, parameters: Mapping[str, Any]) -> Any:
        """One run of a checkpoint."""
        import great_expectations as gx
        from great_expectations.core import ExpectationSuite

        definition = gx.ValidationDefinition(
            name=name,
            data=self._source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all"),
            suite=self._context.suites.add(ExpectationSuite(name=name, expectations=expectations)),
        )
        checkpoint = gx.Checkpoint(
            name=name,
            validation_definitions=[self._context.validation_definitions.add(definition)],
            result_format=RESULT_FORMAT,  # type: ignore[arg-type] - it takes the plain form too
        )
        text = json.dumps([entry["kwargs"] for entry in expectations])
        used = {key: value for key, value in parameters.items() if f'"$PARAMETER": "{key}"' in text}
        run = self._context.checkpoints.add(checkpoint).run(
            batch_parameters={"dataframe": batch}, expectation_parameters=used
        )
        ((_, result),) = run.run_results.items()
        return result


def _expectations(content: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The suite's expectations that apply, with open bounds left out."""
    for entry in content["expectations"]:
        name, _, value = (entry["meta"].get("when") or "").partition("=")
        if not name or str(parameters[name]) == value:
            yield {**entry, "id": None, "kwargs": {k: v for k, v in entry["kwargs"].items() if _is_set(v, parameters)}}


def _is_set(value: Any, parameters: Mapping[str, Any]) -> bool:
    name = value.get("$PARAMETER") if isinstance(value, dict) else None
    return name is None or parameters[name] is not None


def _batch_sql(
    content: Mapping[str, Any],
    expectations: Sequence[Mapping[str, Any]],
    table: TableRef,
    tables: Mapping[str, TableRef],
    split: str,
) -> str:
    """Only the columns that the expectations look at, the suite's helper columns computed over the whole table."""
    text = json.dumps([entry["kwargs"] for entry in expectations])
    named = set(re.findall(r'"([^"]+)"', text))
    derived = {name: d["sql"] for name, d in content["meta"].get("derived", {}).items() if name in named}
    values = {name: f"'{other.location}'" for name, other in tables.items()}
    values |= {"as_of": moment(table.known_until), "landed_at": moment(table.landed_at), "holds": "TRUE"}  # type: ignore[arg-type]
    filled = {name: re.sub(r"{(\w+)}", lambda found: values[found[1]], sql) for name, sql in derived.items()}
    helpers = "".join(f", ({sql}) AS {name}" for name, sql in filled.items())
    wanted = [column.name for column in table.columns if column.name in named] + list(derived)
    where = f" WHERE data_split = '{split}'" if split else ""
    return f"SELECT {', '.join(wanted)} FROM (SELECT *{helpers} FROM '{table.location}' AS audited){where}"


def _comparable(frame: Any) -> Any:
    """Widens numbers and marks times as UTC: of anything else Great Expectations walks the values one by one."""
    import pandas as pd

    for name, column in frame.items():
        if pd.api.types.is_datetime64_dtype(column.dtype):
            frame[name] = column.dt.tz_localize("UTC")
        elif pd.api.types.is_bool_dtype(column.dtype):
            frame[name] = column.astype(object).where(column.notna(), None)
        elif pd.api.types.is_integer_dtype(column.dtype) and not column.hasnans:
            frame[name] = column.astype("int64")
        elif pd.api.types.is_numeric_dtype(column.dtype):
            frame[name] = column.astype("float64")
    return frame
