"""When a changed source counts as changed: no look too early, none too often, none forgotten."""

from datetime import UTC, datetime, timedelta

from e2i_pipeline.policies import Look, settled_change

WHOLE = {"patient_journeys": "j1", "treatment_events": "t1"}
OTHER = {**WHOLE, "patient_journeys": "j2"}
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def looks(*found: dict[str, str]) -> list[Look]:
    """Looks one after another, each with the cursor of the one before."""
    made: list[Look] = []
    for fingerprints in found:
        now = BEGAN + timedelta(minutes=len(made))
        made.append(settled_change(made[-1].cursor if made else None, fingerprints, now))
    return made


def is_requested(*found: dict[str, str]) -> list[bool]:
    return [bool(look.request) for look in looks(*found)]


def test_the_first_state_is_requested_once_it_was_seen_twice() -> None:
    assert is_requested(WHOLE, WHOLE, WHOLE, WHOLE) == [False, True, False, False]


def test_a_change_is_requested_once_it_was_seen_twice() -> None:
    assert is_requested(WHOLE, WHOLE, OTHER, OTHER, OTHER) == [False, True, False, True, False]


def test_a_file_that_is_still_being_copied_is_not_requested() -> None:
    growing = [{**WHOLE, "patient_journeys": f"{size} bytes"} for size in range(5)]
    assert is_requested(*growing, growing[-1]) == [False] * 5 + [True]


def test_a_source_that_is_again_what_was_run_is_not_run_again() -> None:
    assert is_requested(WHOLE, WHOLE, OTHER, WHOLE, WHOLE) == [False, True, False, False, False]


def test_a_state_that_comes_back_after_another_was_run_is_a_request_of_its_own() -> None:
    made = looks(WHOLE, WHOLE, OTHER, OTHER, WHOLE, WHOLE)
    requests = [look.request for look in made if look.request]
    assert len(set(requests)) == len(requests) == 3


def test_the_same_look_twice_makes_the_same_request() -> None:
    """As when the daemon ends between asking for runs and storing the cursor."""
    before = looks(WHOLE)[-1].cursor
    later = BEGAN + timedelta(hours=1)
    again = dict(reversed(WHOLE.items()))
    assert settled_change(before, WHOLE, BEGAN) == settled_change(before, again, later)


def test_all_is_requested_again_where_the_cursor_was_reset() -> None:
    later = BEGAN + timedelta(days=1)
    first = settled_change(settled_change(None, WHOLE, BEGAN).cursor, WHOLE, BEGAN)
    again = settled_change(settled_change(None, WHOLE, later).cursor, WHOLE, later)
    assert first.request
    assert again.request
    assert first.request != again.request


def test_what_changed_and_why_nothing_is_run_are_said() -> None:
    first, second, third, fourth = looks(WHOLE, WHOLE, WHOLE, OTHER)
    assert first.why_not == (
        "Changed: patient_journeys, treatment_events. It is run when the next look finds it as it is now."
    )
    assert (second.changed, second.why_not) == (("patient_journeys", "treatment_events"), "")
    assert third.why_not == "The source is what it was."
    assert fourth.changed == ("patient_journeys",)
