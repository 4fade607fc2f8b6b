"""Writes a covariate into the text of a configuration file, and leaves every other character of it as it was.

YAML libraries that keep comments still change indents, quotes and line ends; so the parser only says where things
stand, and lines are inserted there. What was written is read back and compared before it is given out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import yaml

from e2i_pipeline.errors import ConfigurationError

Entry = Mapping[str, Any]

_BY_HAND = "Write the entry by hand: "


def with_covariate(text: str, entry: Entry, present: Sequence[Entry], where: str) -> str:
    """The text of a configuration file with one more covariate at the end of `features.covariates`.

    Args:
        text: The file's text, empty for a new one.
        entry: The covariate.
        present: The covariates in effect. A list replaces the one below it, so a file that names none gets these too.
        where: What to call the file in a message.

    Returns:
        The new text; its other lines are those of `text`.

    Raises:
        ConfigurationError: The file is not a mapping in YAML, or is written in a way that this does not understand.
    """
    before = _parsed(text, where)
    section: Any = before.get("features") or {}
    if not isinstance(section, dict):
        raise ConfigurationError(f"features in {where} must be a mapping of keys to values: nothing was written.")
    features = cast(dict[str, Any], section)
    listed: list[Any] = features.get("covariates") or []
    added = [entry] if listed else [*present, entry]
    try:
        changed = _inserted(text, added)
        after = _parsed(changed, where)
    except (ConfigurationError, yaml.YAMLError, StopIteration, AttributeError):
        after, changed = {}, ""
    expected = {**before, "features": {**features, "covariates": [*listed, *added]}}
    if after != expected:
        raise ConfigurationError(
            f"{where} is written in a way in which a line cannot be added safely; it was left as it is. {_BY_HAND}"
            f"- {flow(entry)}"
        )
    return changed


def flow(entry: Entry) -> str:
    """An entry on one line, as the configuration's own are written."""
    return yaml.safe_dump(dict(entry), default_flow_style=True, sort_keys=False, width=10_000).strip()


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        content: Any = yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise ConfigurationError(f"{where} is not YAML: mend it first, nothing was written.") from err
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{where} must be a mapping of keys to values: nothing was written.")
    return cast(dict[str, Any], content)


def _inserted(text: str, added: Sequence[Entry]) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    features = _value(root, "features") if root else None
    covariates = _value(features, "covariates") if isinstance(features, yaml.MappingNode) else None
    flows = [flow(entry) for entry in added]
    if isinstance(covariates, yaml.SequenceNode) and not covariates.flow_style:
        return _after_line(text, _end(covariates), [f"{' ' * covariates.start_mark.column}- {each}" for each in flows])
    if isinstance(covariates, yaml.SequenceNode):
        at = covariates.end_mark.index - 1  # the closing bracket
        comma = ", " if covariates.value and not text[:at].rstrip().endswith(",") else ""
        return f"{text[:at]}{comma}{', '.join(flows)}{text[at:]}"
    if covariates is not None:  # a key without a value
        column = _key(features, "covariates").start_mark.column
        return _after_line(text, covariates.end_mark, [f"{' ' * (column + 2)}- {each}" for each in flows])
    if isinstance(features, yaml.MappingNode) and features.flow_style:
        at = features.end_mark.index - 1  # the closing brace
        comma = ", " if features.value and not text[:at].rstrip().endswith(",") else ""
        return f"{text[:at]}{comma}covariates: [{', '.join(flows)}]{text[at:]}"
    if isinstance(features, yaml.MappingNode):
        column = features.start_mark.column
        return _after_line(text, _end(features), _section(column, flows))
    if features is not None:  # `features:` without a value
        column = _key(root, "features").start_mark.column
        return _after_line(text, features.end_mark, _section(column + 2, flows))
    begin = text if not text or text.endswith("\n") else f"{text}\n"
    return begin + "\n".join([*([""] if text else []), "features:", *_section(2, flows), ""])


def _section(column: int, flows: Sequence[str]) -> list[str]:
    indent = " " * column
    return [f"{indent}covariates:", *(f"{indent}  - {each}" for each in flows)]


def _key(mapping: Any, name: str) -> Any:
    return next(key for key, _ in mapping.value if key.value == name)


def _value(mapping: Any, name: str) -> Any:
    return next((value for key, value in mapping.value if key.value == name), None)


def _end(node: Any) -> Any:
    """Where a node's last character stands; a block's own end mark is behind the comments that follow it."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return node.end_mark
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _after_line(text: str, mark: Any, lines: Sequence[str]) -> str:
    """Inserts lines behind the line in which a mark stands."""
    found = text.splitlines(keepends=True)
    ending = "\r\n" if "\r\n" in text else "\n"
    head = "".join(found[: mark.line + 1])
    if not head.endswith("\n"):
        head += ending
    return head + "".join(f"{line}{ending}" for line in lines) + "".join(found[mark.line + 1 :])
