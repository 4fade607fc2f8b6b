"""What may be removed follows from what refers to what, and from how long nobody has used it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2i_pipeline.domain.retention import Decision, Root, Thing, datasets_to_keep, decide, in_words, names_in

A, B, C, D = (letter * 32 for letter in "abcd")


def thing(name: str, age_days: float = 90, refers: Sequence[str] = (), kind: str = "staged snapshot") -> Thing:
    return Thing(place=f"{kind}/{name}", name=name, kind=kind, age_days=age_days, size=2**20, refers=frozenset(refers))


def root(*names: str, what: str = "the published dataset") -> Root:
    return Root(what=what, refers=frozenset(names))


def removed(decision: Decision) -> list[str]:
    return [thing.name for thing in decision.removed]


def test_what_nothing_refers_to_goes_when_it_is_old_enough() -> None:
    decision = decide([root(A)], [thing(A), thing(B), thing(C, age_days=29.9), thing(D, age_days=30)], 30)

    assert removed(decision) == [B, D]
    assert [(kept.thing.name, kept.by) for kept in decision.kept] == [
        (A, "the published dataset"),
        (C, "use in the last 30 days"),
    ]
    assert decision.size == 2 * 2**20


def test_what_is_reached_through_others_stays() -> None:
    chain = [thing(A, refers=[B], kind="manifest"), thing(B, refers=[C]), thing(C), thing(D)]

    decision = decide([root(A)], chain, 30)

    assert removed(decision) == [D]
    assert {kept.by for kept in decision.kept} == {"the published dataset"}


def test_what_is_young_keeps_what_it_refers_to() -> None:
    decision = decide([], [thing(A, age_days=1, refers=[B], kind="manifest"), thing(B), thing(C)], 30)

    assert removed(decision) == [C]
    assert decision.kept[1].by == "a manifest in use in the last 30 days"


def test_things_of_one_name_stay_and_go_together() -> None:
    twins = [thing(A), thing(A, kind="feature table")]

    assert removed(decide([root(A)], twins, 30)) == []
    assert removed(decide([], twins, 30)) == [A, A]


def test_references_in_a_circle_do_not_keep_each_other() -> None:
    assert removed(decide([], [thing(A, refers=[B]), thing(B, refers=[A])], 30)) == [A, B]


def test_the_last_datasets_stay_besides_the_current_one() -> None:
    manifests = [thing(A, 400, kind="manifest"), thing(B, 100, kind="manifest"), thing(C, 300, kind="manifest")]
    current = thing(D, 500, kind="manifest")

    kept = datasets_to_keep([*manifests, current], frozenset({D}), 2)

    assert [set(root.refers) for root in kept] == [{B}, {C}]
    assert {root.what for root in kept} == {"the last 2 published datasets besides the current one"}


@pytest.mark.parametrize(
    "text",
    [
        f'{{"location": "/a folder/é/staging/patient_journeys/{A}/data.parquet"}}',
        f'{{"version": "{A}{B}"}}',  # a whole SHA-256: its first half names the folder
        f'{{"dataset_key": "{A}"}}',
    ],
)
def test_a_text_names_a_thing_by_path_hash_or_key(text: str) -> None:
    assert names_in(text.encode()) == {A}


def test_a_text_without_hashes_names_nothing() -> None:
    assert names_in(b"") == names_in(b"2026-01-01 0123456789abcdef ABCDEF" + b"A" * 64) == frozenset()


def test_a_decision_in_words() -> None:
    decision = decide([root(A)], [thing(A), thing(B), thing(C, age_days=2)], 30)

    assert in_words(decision, is_dry_run=True).splitlines() == [
        "Would remove 1 thing, 1.0 MiB.",
        f"        1.0 MiB  staged snapshot/{B} (staged snapshot, unused for 90 days)",
        "Kept by the published dataset: 1 thing, 1.0 MiB.",
        "Kept by use in the last 30 days: 1 thing, 1.0 MiB.",
    ]
    assert in_words(decision, is_dry_run=False).startswith("Removed 1 thing, 1.0 MiB.")


NAMES = [f"{number:032x}" for number in range(8)]
_links = st.lists(st.sets(st.sampled_from(NAMES)), min_size=8, max_size=8)


@given(
    links=_links, ages=st.lists(st.sampled_from([1, 90]), min_size=8, max_size=8), roots=st.sets(st.sampled_from(NAMES))
)
def test_nothing_that_stays_refers_to_what_goes(links: list[set[str]], ages: list[int], roots: set[str]) -> None:
    things = [thing(name, age, sorted(refers)) for name, age, refers in zip(NAMES, ages, links, strict=True)]

    decision = decide([root(*roots)], things, 30)

    gone = set(removed(decision))
    assert not gone & roots
    assert all(not gone & kept.thing.refers for kept in decision.kept)
    assert all(thing.age_days >= 30 for thing in decision.removed)
    assert len(decision.removed) + len(decision.kept) == len(things)
