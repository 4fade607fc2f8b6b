r"""Regular expressions of Python as such of RE2 (DuckDB's), where both find the same.

Python's own parser reads the expression; what RE2 lacks or takes differently is refused. Differences that are bridged:
`$` also stands before a last line break, `.` is anything but a line break, and `\d`, `\w`, `\s` and `\b` know all of
Unicode in Python, so that they are the same on ASCII text only.
"""

import importlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from e2i_pipeline.resources.pushdown.columns import NotPushed

_MOST = 1000
"""Repetitions that RE2 takes, those of nested ones multiplied."""

_LAST = 0x10FFFF
_CLASSES = {
    "DIGIT": ((0x30, 0x39),),
    "WORD": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "SPACE": ((0x09, 0x0D), (0x1C, 0x20)),  # str.isspace, which Python's \s follows
}


class Translated(NamedTuple):
    """An expression for RE2, and whether it finds the same on ASCII text only."""

    pattern: str
    is_for_ascii: bool


def translated(pattern: Any) -> Translated:
    """An expression for `regexp_matches` that is true where Python's `re.search` finds something.

    Raises:
        NotPushed: None is known.
    """
    try:
        parsed = importlib.import_module("re._parser").parse(pattern)
    except (re.error, TypeError, ImportError, OverflowError, RecursionError) as err:
        raise NotPushed from err
    if parsed.state.flags & ~re.UNICODE:
        raise NotPushed
    translator = _Translator()
    return Translated(translator.sequence(list(parsed), is_tail=True, repeated=1), translator.is_for_ascii)


class _Translator:
    def __init__(self) -> None:
        self.is_for_ascii = False

    def sequence(self, items: Sequence[tuple[Any, Any]], is_tail: bool, repeated: int) -> str:
        last = len(items) - 1
        return "".join(self._item(str(o), a, is_tail and i == last, repeated) for i, (o, a) in enumerate(items))

    def _item(self, operation: str, argument: Any, is_tail: bool, repeated: int) -> str:
        match operation:
            case "LITERAL":
                return _char(argument)
            case "NOT_LITERAL":
                return f"[^{_char(argument)}]"
            case "ANY":
                return r"[^\n]"
            case "IN":
                return self._class(argument)
            case "AT":
                return self._position(str(argument), is_tail)
            case "BRANCH":
                return f"(?:{'|'.join(self.sequence(list(b), is_tail, repeated) for b in argument[1])})"
            case "SUBPATTERN" if not (argument[1] or argument[2]):
                return f"(?:{self.sequence(list(argument[3]), is_tail, repeated)})"
            case "MAX_REPEAT" | "MIN_REPEAT":
                low, high, items = argument
                return self._repeat(low, high, items, repeated)
        raise NotPushed

    def _class(self, items: Sequence[tuple[Any, Any]]) -> str:
        negated = str(items[0][0]) == "NEGATE"
        inside = "".join(self._member(str(o), a) for o, a in items[1 if negated else 0 :])
        return f"[{'^' if negated else ''}{inside}]"

    def _member(self, operation: str, argument: Any) -> str:
        if operation == "LITERAL":
            return _char(argument)
        if operation == "RANGE":
            return f"{_char(argument[0])}-{_char(argument[1])}"
        self.is_for_ascii = True
        name = str(argument).removeprefix("CATEGORY_")
        ranges = _CLASSES[name.removeprefix("NOT_")]
        return "".join(f"{_char(a)}-{_char(b)}" for a, b in (_others(ranges) if name.startswith("NOT_") else ranges))

    def _position(self, name: str, is_tail: bool) -> str:
        if name in ("AT_BOUNDARY", "AT_NON_BOUNDARY"):
            self.is_for_ascii = True
            return r"\b" if name == "AT_BOUNDARY" else r"\B"
        if name == "AT_END" and is_tail:
            return r"\n?\z"
        if name in ("AT_BEGINNING", "AT_BEGINNING_STRING", "AT_END_STRING"):
            return r"\z" if name == "AT_END_STRING" else r"\A"
        raise NotPushed

    def _repeat(self, low: Any, high: Any, items: Any, repeated: int) -> str:
        is_open = str(high) == "MAXREPEAT"
        times = repeated * max(int(low) if is_open else int(high), 1)
        if times > _MOST:
            raise NotPushed
        inside = self.sequence(list(items), is_tail=False, repeated=times)
        return f"(?:{inside}){{{int(low)},{'' if is_open else int(high)}}}"


def _char(code: int) -> str:
    return rf"\x{{{code:x}}}"


def _others(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The code points outside of ranges in ascending order."""
    starts = [0, *(end + 1 for _, end in ranges)]
    ends = [*(start - 1 for start, _ in ranges), _LAST]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start <= end]
