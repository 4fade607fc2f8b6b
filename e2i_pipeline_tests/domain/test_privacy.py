"""Pseudonyms: RFC 2104, and the same digits from Python and from the engine."""

import hashlib
import hmac
import random

import duckdb
import pytest

from e2i_pipeline.contracts.tables import DIRECT, TABLES
from e2i_pipeline.domain import privacy
from e2i_pipeline.domain.privacy import direct_kind

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


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("name", "first_name FirstName LAST_NAME patient_name provider-name full.name middleName"),
        ("birth date", "dob DOB PatientDOB birth_date date_of_birth DateOfBirth birth_datetime"),
        ("e-mail", "email e_mail E-Mail EMAIL patient_email email_address"),
        ("telephone", "phone mobile home_phone_number Phone1 contactTelephone fax"),
        ("address", "street address Street_Address address_line_1 homeAddress"),
        ("national number", "ssn SSN social_security_number patient_ssn"),
        ("medical record", "mrn MRN medical_record_number person_source_value"),
        ("professional", "npi NPI hcp_npi npi_number"),
        ("device or network", "ip_address IPAddress device_id"),
    ],
)
def test_a_direct_identifier_is_known_by_its_name_however_it_is_written(kind: str, names: str) -> None:
    assert {name: direct_kind(name) for name in names.split()} == dict.fromkeys(names.split(), kind)


@pytest.mark.parametrize(
    "name",
    [
        *("email_open", "phone_calls", "drug_name", "state", "city", "zip_code", "year_of_birth", "age_group"),
        *("preferred_channel", "hcp_id", "patient_id", "mobile_visits", "mail_order", "street_drug_use", "dose_mg"),
        *("index_condition", "birth_weight", "number", "value", "home", "patient", "_", "1", ""),
    ],
)
def test_what_only_speaks_of_one_is_none(name: str) -> None:
    assert direct_kind(name) == ""


def test_no_canonical_column_that_is_landed_is_named_like_a_direct_identifier() -> None:
    columns = [column for schema in TABLES.values() for column in schema.columns]
    assert {c.name for c in columns if direct_kind(c.name)} == {c.name for c in columns if c.privacy == DIRECT}


def test_a_pseudonym_is_told_from_a_value_of_the_source() -> None:
    made = privacy.pseudonym(b"key", "patient", "P-1") or ""
    texts = [made, "P-1", made.upper(), made[:-1], f"{made}\n", f" {made}", ""]
    with duckdb.connect() as connection:
        sql = f"SELECT {privacy.is_pseudonym_sql('?')}"
        in_engine = [connection.execute(sql, [text]).fetchall()[0][0] for text in texts]
    assert in_engine == [privacy.is_pseudonym(text) for text in texts] == [True, *[False] * 6]
