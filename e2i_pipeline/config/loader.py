"""Reads the settings: `e2i.yaml`, then the profile, then the user's overlay (`E2I_CONFIG`), then `E2I__SECTION__KEY`.

The order is by who changes it, the last one wins. This module only reads and merges; what is valid stands in
`schema.py`. A wrong key ends in an error that names it in full, where it stands and the nearest valid one.
"""

import difflib
import functools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError

from e2i_pipeline.config.schema import Settings
from e2i_pipeline.errors import ConfigurationError

PROJECT = Path(__file__).resolve().parents[2]
"""The folder that holds `gx/` and `feature_repo/` beside the package."""

_HERE = Path(__file__).resolve().parent
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^${}]*))?\}")


@functools.cache
def settings() -> Settings:
    """This process's settings, read once.

    Raises:
        ConfigurationError: As `load_settings`.
    """
    return load_settings()


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Loads and validates the settings.

    Args:
        environ: The environment to read; the process's own by default.

    Returns:
        The frozen settings, paths absolute.

    Raises:
        ConfigurationError: A key is unknown, a value is of the wrong type or out of range, a file is missing or not
            YAML, or a variable that must be set is not.
    """
    env = os.environ if environ is None else environ
    profile = env.get("E2I_PROFILE", "local")
    state = Path(env.get("E2I_STATE_DIR") or ".e2i").absolute()
    merged = _read(_HERE / "e2i.yaml")
    merged = _overlay(merged, _expand(_read(_profile(profile)), env, state))
    if overlay := env.get("E2I_CONFIG"):
        merged = _overlay(merged, _expand(_read(Path(overlay)), env, state))
    merged = _overlay(merged, _from_environment(env, merged))
    if data := env.get("E2I_DATA"):
        merged = _overlay(merged, {"source": {"location": data}})
    if bucket := env.get("GE_DATA_DOCS_S3_BUCKET"):
        site = f"s3://{bucket.removeprefix('s3://')}"
        merged = _overlay(merged, {"great_expectations": {"data_docs_site": site}})
    try:
        return Settings.model_validate({**merged, "profile": profile, "state_dir": state})
    except ValidationError as err:
        raise ConfigurationError(_explain(err, env)) from None


def _profile(name: str) -> Path:
    path = _HERE / "profiles" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise ConfigurationError(f"E2I_PROFILE={name}: there is no such profile. Profiles: {known}.")
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        content = _parse(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigurationError(f"The configuration {path} cannot be read: {err.strerror}. Check E2I_CONFIG.") from err
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        where = getattr(err, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise ConfigurationError(f"The configuration {path}{line} is not YAML in UTF-8: mend it there.") from err
    if content is None:  # comments only
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"The configuration {path} must be a mapping of keys to values.")
    return cast(dict[str, Any], content)


def _parse(text: str) -> Any:
    """The safe loader's answer, from its C form where PyYAML was built with it: ten times faster."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


def _overlay(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lays mappings over each other; any other value, a list too, replaces what was there."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, Mapping) and isinstance(under, dict):
            merged[key] = _overlay(cast(dict[str, Any], under), cast(Mapping[str, Any], value))
        else:
            merged[key] = value
    return merged


def _expand(value: Any, env: Mapping[str, str], state: Path) -> Any:
    if isinstance(value, dict):
        return {k: _expand(v, env, state) for k, v in cast(dict[str, Any], value).items()}
    if isinstance(value, list):
        return [_expand(v, env, state) for v in cast(list[Any], value)]
    if not isinstance(value, str) or ("{" not in value):
        return value
    value = value.replace("{state}", str(state)).replace("{project}", str(PROJECT))
    while match := _VARIABLE.search(value):
        found = env.get(match[1]) or match[2]
        if found is None:
            raise ConfigurationError(f"The environment variable {match[1]} must be set: the profile has no default.")
        value = value[: match.start()] + found + value[match.end() :]
    return value


def _from_environment(env: Mapping[str, str], known: dict[str, Any]) -> dict[str, Any]:
    """The overrides as a tree; a part is spelt as the key it names in `known`, whatever its case (`C`)."""
    tree: dict[str, Any] = {}
    for name, text in sorted(env.items()):
        if not name.startswith("E2I__"):
            continue
        *sections, key = _spelt(name.removeprefix("E2I__").split("__"), known)
        branch = tree
        try:
            value = _parse(text)
            for section in sections:
                branch = branch.setdefault(section, {})
            branch[key] = value
        except yaml.YAMLError:
            raise ConfigurationError(f"The environment variable {name} is not a YAML value.") from None
        except (AttributeError, TypeError):
            raise ConfigurationError(
                f"The environment variable {name} sets a key of a section to which another variable gives a plain "
                "value. Unset one of the two."
            ) from None
    return tree


def _spelt(parts: list[str], known: Any) -> list[str]:
    """The path of an override in the spelling of the settings; in lower case where they do not know it."""
    path: list[str] = []
    for part in parts:
        beside = cast(dict[str, Any], known) if isinstance(known, dict) else {}
        path.append(next((key for key in beside if key.lower() == part.lower()), part.lower()))
        known = beside.get(path[-1])
    return path


def _explain(err: ValidationError, env: Mapping[str, str]) -> str:
    """One line per problem, with where its value was set. Values are not repeated: one may be a secret."""
    lines: list[str] = []
    for problem in err.errors(include_input=False, include_url=False):
        path = [str(part) for part in problem["loc"]]
        where = ".".join(path) or "configuration"
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(path[-1], _keys_beside(path), n=1)
            hint = f"Did you mean {'.'.join([*path[:-1], near[0]])}?" if near else "It is not a key of this section."
            lines.append(f"{where}: unknown key. {hint}{_origin(path, env)}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            said = f"{message}." if message.startswith(where) else f"{where}: {message}."
            lines.append(f"{said}{_origin(path, env)}")
    found = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return f"The configuration has {found}:\n  " + "\n  ".join(lines)


def _origin(path: Sequence[str], env: Mapping[str, str]) -> str:
    """Where the value at `path` was set, for the end of a sentence; empty where no one place can be named."""
    names = ["__".join(["E2I", *path[:depth]]).upper() for depth in range(len(path), 0, -1)]
    if name := next((name for name in names if name in env), ""):
        return f" Set by the environment variable {name}."
    overlay = env.get("E2I_CONFIG")
    below: Any = _read(Path(overlay)) if overlay else None
    for part in path:
        below = cast(dict[str, Any], below).get(part) if isinstance(below, dict) else None
    return f" Set in {overlay}." if below is not None else ""


def _keys_beside(path: list[str]) -> list[str]:
    """The valid keys of the section that the last element of `path` stands in."""
    model: Any = Settings
    for part in path[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            continue
        candidates = [field.annotation, *get_args(field.annotation)]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return [field.alias or name for name, field in getattr(model, "model_fields", {}).items()]
