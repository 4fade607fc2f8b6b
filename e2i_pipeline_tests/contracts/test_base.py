"""Contracts are frozen and closed, and a content key depends on the content alone."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from e2i_pipeline.contracts import cohort, model_files, quality, references, tables
from e2i_pipeline.contracts.base import Contract, Reference, content_key
from e2i_pipeline.contracts.references import ColumnInfo, SplitCuts, TableRef

TABLE = TableRef(key="k", name="patient_journeys", version="v1", columns=(ColumnInfo(name="brand", dtype="VARCHAR"),))

CONTRACTS = [
    found
    for module in (cohort, model_files, quality, references, tables)
    for found in vars(module).values()
    if isinstance(found, type) and issubclass(found, Contract) and found.__module__ == module.__name__
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.__name__)
def test_every_contract_is_frozen_and_closed(contract: type[Contract]) -> None:
    assert contract.model_config["frozen"] is True
    assert contract.model_config["extra"] == "forbid"


def test_a_field_cannot_be_set_and_an_unknown_one_is_refused() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TABLE.rows = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ColumnInfo(name="brand", dtype="VARCHAR", width=3)  # type: ignore[call-arg]


def test_a_reference_has_a_key() -> None:
    with pytest.raises(ValidationError, match="key"):
        Reference()  # type: ignore[call-arg]


def test_a_contract_survives_json() -> None:
    assert TableRef.model_validate_json(TABLE.model_dump_json()) == TABLE
    assert TableRef.model_validate(TABLE.model_dump(mode="json")) == TABLE


def test_a_key_stays_the_same_from_release_to_release() -> None:
    # Every stored result hangs on this: a change here makes each state folder compute everything again.
    assert content_key("a", 1, 0.5, None, True, [1, 2], {"b": 2, "a": 1}) == "1c484e48c3994a121ee1f17ec158b8eb"


def test_a_key_is_the_same_in_another_process_whatever_its_hash_seed() -> None:
    code = (
        "from e2i_pipeline.contracts.base import content_key; print(content_key({'b', 'a', 'c'}, {'z': 1, 'y': {'x'}}))"
    )
    keys = {
        subprocess.run(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }

    assert keys == {content_key({"b", "a", "c"}, {"z": 1, "y": {"x"}}) + "\n"}


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=5))
def test_the_order_of_a_mapping_does_not_count(mapping: dict[str, object]) -> None:
    assert content_key(mapping) == content_key(dict(reversed(mapping.items())))


@given(st.lists(JSON, max_size=4))
def test_a_tuple_and_a_list_are_the_same_content(parts: list[object]) -> None:
    assert content_key(parts) == content_key(tuple(parts))
    assert len(content_key(parts)) == 32


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("b", "a")),
        (("ab",), ("a", "b")),
        ((["a"], "b"), (["a", "b"],)),
        ((None,), ("null",)),
        ((1,), ("1",)),
        ((True,), (1,)),
        ((1,), (1.0,)),
        (({"a": 1},), ({"a": None},)),
        ((TABLE,), (TABLE.model_copy(update={"rows": 1}),)),
    ],
)
def test_other_content_has_another_key(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    assert content_key(*one) != content_key(*other)


def test_a_contract_counts_as_its_fields() -> None:
    cuts = SplitCuts(
        version=1,
        train_end=date(2025, 1, 1),
        validation_end=date(2025, 3, 1),
        test_end=date(2025, 5, 1),
        gap_days=7,
    )

    assert content_key(cuts) == content_key(cuts.model_dump(mode="json"))
    assert content_key(datetime(2026, 1, 1, tzinfo=UTC)) != content_key(datetime(2026, 1, 2, tzinfo=UTC))
