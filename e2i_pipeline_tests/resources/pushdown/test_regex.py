"""What is translated finds what Python's `re.search` finds; what is not is refused."""

import re
from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2i_pipeline.resources.pushdown.columns import NotPushed
from e2i_pipeline.resources.pushdown.regex import translated

PATTERNS = (
    *(r"^[A-Z][0-9][0-9A-Z](?:\.?[0-9A-Z]{1,4})?$", r"^[0-9a-f]{32}$", r"a$", r"^$", r"$", r"^", r"a|^b$|c", r"(ab)+$"),
    *(
        r".",
        r"a.c",
        r"[^a]",
        r"[\]\-^]",
        r"\.",
        r"\x41",
        r"x{2}",
        r"x{2,}",
        r"x{,2}y",
        r"a*?b",
        r"(?P<name>a)",
        r"\Aa\Z",
    ),
    *(r"\d", r"\D", r"\w+", r"\W", r"\s", r"\S", r"[\d\s]", r"[^\w]", r"\bab\b", r"a\B", r"[\W\d]"),
    *("\u00e9", "[\u00e0-\u00ff]", "\U0001f600", "'", r"\\", r"\t"),
)
REFUSED = (
    *(
        r"(?i)a",
        r"(?s).",
        r"(?m)^a",
        r"(?x) a",
        r"(?i:a)",
        r"a(?=b)",
        r"a(?!b)",
        r"(?<=a)b",
        r"(a)\1",
        r"(?>a)",
        r"a++",
    ),
    *(r"a$b", r"(a$)b", r"(a$)*", r"a{1001}", r"(a{40}){40}", r"(", r"a{2,1}", r"[b-a]", 5, None),
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


@given(text=st.text(alphabet="ab cxyAB0_1.-^'\\]\n\t\x0b\x1c\u00e9\u0663\u2028\U0001f600", max_size=6))
@settings(max_examples=150, deadline=None)
def test_it_finds_what_python_finds(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    usable = [p for p in PATTERNS if text.isascii() or not translated(p).is_for_ascii]
    columns = ", ".join("regexp_matches($text, $p" + str(i) + ")" for i in range(len(usable)))
    bound = {f"p{i}": translated(pattern).pattern for i, pattern in enumerate(usable)}
    found = connection.execute(f"SELECT {columns}", {"text": text, **bound}).fetchall()[0]
    assert dict(zip(usable, found, strict=True)) == {p: re.search(p, text) is not None for p in usable}


@pytest.mark.parametrize("pattern", REFUSED, ids=repr)
def test_what_is_not_the_same_is_refused(pattern: object) -> None:
    with pytest.raises(NotPushed):
        translated(pattern)


def test_classes_of_characters_are_for_ascii_text() -> None:
    assert {p for p in PATTERNS if translated(p).is_for_ascii} == set(PATTERNS[20:31])
