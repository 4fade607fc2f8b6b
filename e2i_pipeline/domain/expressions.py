"""What a user's SQL expression may be: one scalar expression over the columns of a row, the same today and tomorrow.

The engine parses (`resources/connectors/expressions.py`); this module reads the tree that it gives, and runs nothing.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from e2i_pipeline.errors import ConfigurationError

_ALLOWED = frozenset(
    ("CASE", "CAST", "TYPE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "OPERATOR", "BETWEEN")
) | {"COLLATE", "LAMBDA"}
_WHY = {
    "SUBQUERY": "a subquery: an expression sees one row only",
    "WINDOW": "a window function, which sees other rows, later ones too: use order or one_row",
    "STAR": "a star: name the columns",
    "PARAMETER": "a parameter",
    "POSITIONAL_REFERENCE": "a position",
}
_ONE = "it is not one expression: one value is wanted, without SELECT, FROM, WHERE or a semicolon"
_CLOCK = frozenset(
    ("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "current_localtime")
) | {"current_localtimestamp", "now", "today"}
_NEVER = _CLOCK | {"row", "json_serialize_sql", "json_deserialize_sql", "json_execute_serialized_sql", "parse_filename"}


class Functions(NamedTuple):
    """What the engine says of its functions.

    Attributes:
        scalar: Names whose answer depends on their arguments alone.
        macros: Definitions of macros, by name.
    """

    scalar: frozenset[str]
    macros: Mapping[str, tuple[str, ...]]


def embedded(sql: str) -> str:
    """A user's expression as part of a statement; what stands behind `--` in it ends with its line."""
    return f"(\n{sql}\n)"


def read_expression(tree: str, where: str, functions: Functions, parse: Callable[[str], str]) -> tuple[str, ...]:
    """Holds a parsed expression against what one may be.

    Args:
        tree: What `json_serialize_sql` made of `SELECT` and the `embedded` expression.
        where: The key of the configuration, for messages.
        functions: The engine's functions.
        parse: Parses the definition of a macro likewise.

    Returns:
        The columns that it reads, as written.

    Raises:
        ConfigurationError: It is not one scalar expression, or it reads what is not in its row.
    """
    parsed = cast(dict[str, Any], json.loads(tree))
    if parsed.get("error"):
        raise ConfigurationError(f"{where} is not SQL that the engine understands: {_ONE}. Mend it.")
    statements = cast(list[dict[str, Any]], parsed["statements"])
    node = cast(dict[str, Any], statements[0]["node"])
    is_plain = node["type"] == "SELECT_NODE" and node["from_table"]["type"] == "EMPTY"
    rest = ("where_clause", "group_expressions", "having", "qualify", "sample", "modifiers")
    if len(statements) != 1 or not is_plain or len(node["select_list"]) != 1 or any(node.get(key) for key in rest):
        raise ConfigurationError(f"{where}: {_ONE}.")
    columns: dict[str, None] = {}
    bound = {name for part in _parts(node["select_list"]) for name in _bound(part)}
    for part in _parts(node["select_list"]):
        if reason := _refusal(part, functions, parse):
            raise ConfigurationError(f"{where} uses {reason}.")
        if part["class"] == "COLUMN_REF":
            name = part["column_names"][0]
            if name.lower() in _CLOCK:
                raise ConfigurationError(f"{where} uses {name}: the clock is no part of the input.")
            if name not in bound:
                columns[name] = None
    return tuple(columns)


def _refusal(part: Mapping[str, Any], functions: Functions, parse: Callable[[str], str]) -> str:
    kind = str(part["class"])
    if kind not in _ALLOWED or part["type"] == "GROUPING_FUNCTION":
        return _WHY.get(kind, f"what is no scalar expression ({kind.lower()})")
    if kind != "FUNCTION":
        return ""
    name = str(part["function_name"]).lower()
    return (
        ""
        if _is_scalar(name, functions, parse, ())
        else (
            f"the function {name}: only functions of one row's values are taken, none that aggregates, makes rows, or "
            "reads files, settings, the clock or chance"
        )
    )


def _is_scalar(name: str, functions: Functions, parse: Callable[[str], str], above: tuple[str, ...]) -> bool:
    if name in _NEVER or name in above:
        return False
    if name in functions.scalar:
        return True
    definitions = functions.macros.get(name, ())
    return bool(definitions) and all(_is_scalar_macro(d, functions, parse, (*above, name)) for d in definitions)


def _is_scalar_macro(
    definition: str, functions: Functions, parse: Callable[[str], str], above: tuple[str, ...]
) -> bool:
    parsed = cast(dict[str, Any], json.loads(parse(definition)))
    if parsed.get("error"):
        return False
    for part in _parts(parsed["statements"][0]["node"]["select_list"]):
        if part["class"] not in _ALLOWED:
            return False
        if part["class"] == "COLUMN_REF" and str(part["column_names"][0]).lower() in _CLOCK:
            return False
        if part["class"] == "FUNCTION" and not _is_scalar(str(part["function_name"]).lower(), functions, parse, above):
            return False
    return True


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """Every expression in a tree."""
    if isinstance(tree, dict):
        branch = cast(dict[str, Any], tree)
        if "class" in branch:
            yield branch
        for below in branch.values():
            yield from _parts(below)
    elif isinstance(tree, list):
        for below in cast(list[Any], tree):
            yield from _parts(below)


def _bound(part: Mapping[str, Any]) -> Iterator[str]:
    """The names that a lambda gives to its arguments."""
    if part["class"] == "LAMBDA":
        for argument in _parts(part.get("lhs")):
            if argument["class"] == "COLUMN_REF":
                yield str(argument["column_names"][0])
