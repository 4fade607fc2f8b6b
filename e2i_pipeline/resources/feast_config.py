"""Reads a Feast configuration: its variables from the environment, and which kind of offline store it names.

Feast replaces variables in the file's text, so that an unset one ends in an error about a class or a project name, and
a quotation mark in a password in one about YAML. Here the file is parsed first, and what is not set is named.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2i_pipeline.errors import ConfigurationError

DEFAULTS = {
    "E2I_FEAST_POSTGRES_PORT": "5432",
    "E2I_FEAST_POSTGRES_SCHEMA": "public",
    "E2I_FEAST_POSTGRES_SSLMODE": "require",
}
"""What a variable is where the environment does not set it; by hand, Feast needs them set."""

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_OFFLINE_KINDS = {"postgres": "postgres", "redshift": "redshift"}


def read_config(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The configuration with its variables replaced.

    Args:
        path: The YAML file.
        environment: Variables that come before those of the process and before the defaults.

    Raises:
        ConfigurationError: The file is not there or no mapping, or variables are not set: all are named at once.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"The Feast configuration {path} is not there. FEAST_REPO_PATH must name the feature repository, and "
            "E2I_FEAST_CONFIG one of its feature_store*.yaml."
        ) from None
    except yaml.YAMLError as err:
        raise ConfigurationError(f"The Feast configuration {path} is not YAML ({type(err).__name__}).") from err
    if not isinstance(content, dict):
        raise ConfigurationError(f"The Feast configuration {path} must be a mapping of keys to values.")
    known = {**DEFAULTS, **{name: value for name, value in os.environ.items() if value}, **environment}
    missing: set[str] = set()
    expanded = _expanded(content, known, missing)
    if missing:
        raise ConfigurationError(
            f"The Feast configuration {path.name} needs {_counted(missing)} that the environment does not set: "
            f"{', '.join(sorted(missing))}. Set them (.env.example says what each is), or choose another configuration "
            "by E2I_FEAST_CONFIG."
        )
    return expanded


def offline_kind(config: Mapping[str, Any]) -> str:
    """Which kind of table the offline store reads: `file`, `postgres` or `redshift`."""
    store = config.get("offline_store")
    return _OFFLINE_KINDS.get(store.get("type", "") if isinstance(store, dict) else str(store), "file")


def registry_address(config: Mapping[str, Any]) -> str:
    """Where the registry lies: an SQLAlchemy URL, a path, or an S3 address. It may hold a password."""
    registry = config.get("registry")
    return str(registry.get("path", "") if isinstance(registry, dict) else registry or "")


def _expanded(value: Any, known: Mapping[str, str], missing: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(item, known, missing) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, known, missing) for item in value]
    if not isinstance(value, str):
        return value
    missing.update(name for name in _VARIABLE.findall(value) if name not in known)
    return _VARIABLE.sub(lambda match: known.get(match[1], match[0]), value)


def _counted(names: set[str]) -> str:
    return "1 variable" if len(names) == 1 else f"{len(names)} variables"
