"""Pseudonyms: RFC 2104, and the same digits from Python and from the engine."""

import hashlib
import hmac
import random

import duckdb
import pytest

from e2i_pipeline.domain import privacy

KEYS = [b"k", b"a key of usual length, 32 bytes!", b"x" * 64, b"longer than one block of SHA-256 " * 3]


def in_engine(key: bytes, namespace: str, identifiers: list[str | None]) -> list[str | None]:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TEMP TABLE {privacy.PADS} (ipad BLOB, opad BLOB)")
        connection.execute(f"INSERT INTO {privacy.PADS} VALUES (?, ?)", privacy.pads(key))
        connection.execute("CREATE TEMP TABLE people (position INTEGER, id VARCHAR)")
        connection.executemany("INSERT INTO people VALUES (?, ?)", list(enumerate(identifiers)))
        sql = f"SELECT {privacy.pseudonym_sql('id', namespace)} FROM people ORDER BY position"
        return [value for (value,) in connection.execute(sql).fetchall()]


@pytest.mark.parametrize("key", KEYS, ids=len)
def test_pseudonym_is_a_truncated_hmac_sha256(key: bytes) -> None:
    expected = hmac.new(key, b"patient:P-1", hashlib.sha256).hexdigest()[:32]
    assert privacy.pseudonym(key, "patient", "P-1") == expected
    assert in_engine(key, "patient", ["P-1"]) == [expected]


@pytest.mark.parametrize("key", KEYS, ids=len)
def test_engine_and_python_agree_on_any_text(key: bytes) -> None:
    rng = random.Random(7)  # noqa: S311 - texts to try, no secret
    alphabet = " '\"\\;:\t\n\u00a0\u200b\u00e9e\u0301\u4e2d\U0001f600aZ09"
    texts = ["".join(rng.choices(alphabet, k=rng.randint(1, 90))) for _ in range(300)]
    assert in_engine(key, "hcp", texts) == [privacy.pseudonym(key, "hcp", each) for each in texts]


def test_nobody_stays_nobody() -> None:
    assert in_engine(b"key", "patient", [None, "", "   "]) == [None, None, None]
    assert privacy.pseudonym(b"key", "patient", None) is None
    assert privacy.pseudonym(b"key", "patient", " ") is None


def test_kinds_and_keys_do_not_mix() -> None:
    assert privacy.pseudonym(b"key", "patient", "1") != privacy.pseudonym(b"key", "hcp", "1")
    assert privacy.pseudonym(b"key", "patient", "1") != privacy.pseudonym(b"kez", "patient", "1")
    assert privacy.key_id(b"key") != privacy.key_id(b"kez")


def test_namespace_must_be_a_word() -> None:
    with pytest.raises(ValueError, match="not a namespace"):
        privacy.pseudonym_sql("id", "x' || id || '")
