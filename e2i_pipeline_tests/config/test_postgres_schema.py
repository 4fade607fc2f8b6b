"""The settings of a PostgreSQL source: no place in a file, canonical names only, and the key as users write it."""

from pathlib import Path

import pytest

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.resources.sources import SourceResource
from e2i_pipeline_tests.processes import PROJECT


def _environment(tmp_path: Path, **given: str) -> dict[str, str]:
    example = str(PROJECT / "examples" / "postgres.yaml")
    return {"E2I_STATE_DIR": str(tmp_path), "E2I_CONFIG": example, **given}


def test_the_address_is_in_the_environment_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="E2I_SOURCE_URL does not say where the database is"):
        _source(_environment(tmp_path)).fingerprint("hcp_profiles")
    with pytest.raises(ConfigurationError, match="unknown key"):
        load_settings(_environment(tmp_path, E2I__SOURCE__POSTGRES__URL="postgresql://u:secret-word@h/d"))


def test_the_schema_is_set_by_its_own_name(tmp_path: Path) -> None:
    source = _source(_environment(tmp_path, E2I__SOURCE__POSTGRES__SCHEMA="crm"))
    assert source.options["schema"] == "crm"
    with pytest.raises(ConfigurationError, match=r"Did you mean source\.postgres\.schema"):
        load_settings(_environment(tmp_path, E2I__SOURCE__POSTGRES__SCHEMAS="crm"))


@pytest.mark.parametrize("key", ["TABLES", "WATERMARK"])
def test_only_canonical_tables_are_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigurationError, match="hcps is no canonical table"):
        load_settings(_environment(tmp_path, **{f"E2I__SOURCE__POSTGRES__{key}": "{hcps: x}"}))


def _source(environment: dict[str, str]) -> SourceResource:
    source = build_resources(load_settings(environment))["source"]
    assert isinstance(source, SourceResource)
    return source
