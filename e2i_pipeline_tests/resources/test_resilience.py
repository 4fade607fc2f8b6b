"""The circuit opens, tries again and closes by the clock it is given; the spool loses nothing."""

from collections.abc import Sequence
from pathlib import Path
from threading import Barrier, Thread

import pytest

from e2i_pipeline.errors import ToolUnavailable
from e2i_pipeline.resources.resilience import CircuitBreaker, Record, Spool


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Tool:
    """A tool that works or does not, and counts its calls."""

    def __init__(self) -> None:
        self.works = False
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if not self.works:
            raise ConnectionError("refused")
        return "answer"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tool() -> Tool:
    return Tool()


def fail(breaker: CircuitBreaker, tool: Tool, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ConnectionError):
            breaker.call(tool)


def test_circuit_opens_after_five_consecutive_failures(clock: Clock, tool: Tool) -> None:
    breaker = CircuitBreaker("Opik", clock=clock)
    fail(breaker, tool, 4)
    assert breaker.state == "closed"
    fail(breaker, tool, 1)
    assert breaker.state == "open"
    with pytest.raises(ToolUnavailable, match=r"Opik was not called: 5 consecutive calls failed.*in 30 s"):
        breaker.call(tool)
    assert tool.calls == 5


def test_success_between_failures_keeps_it_closed(clock: Clock, tool: Tool) -> None:
    breaker = CircuitBreaker("Opik", clock=clock)
    fail(breaker, tool, 4)
    tool.works = True
    assert breaker.call(tool) == "answer"
    tool.works = False
    fail(breaker, tool, 4)
    assert breaker.state == "closed"


def test_three_successes_after_thirty_seconds_close_it(clock: Clock, tool: Tool) -> None:
    breaker = CircuitBreaker("Opik", clock=clock)
    fail(breaker, tool, 5)
    clock.seconds += 29.9
    assert breaker.state == "open"
    clock.seconds += 0.1
    tool.works = True
    for _ in range(2):
        breaker.call(tool)
        assert breaker.state == "half_open"
    breaker.call(tool)
    assert breaker.state == "closed"
    tool.works = False
    fail(breaker, tool, 4)
    assert breaker.state == "closed", "it counts from zero again"


def test_failure_while_half_open_opens_it_for_another_thirty_seconds(clock: Clock, tool: Tool) -> None:
    breaker = CircuitBreaker("Opik", clock=clock)
    fail(breaker, tool, 5)
    clock.seconds += 30
    fail(breaker, tool, 1)
    assert breaker.state == "open"
    with pytest.raises(ToolUnavailable):
        breaker.call(tool)
    clock.seconds += 30
    assert breaker.state == "half_open"


def test_half_open_lets_at_most_three_calls_through_at_once(clock: Clock, tool: Tool) -> None:
    breaker = CircuitBreaker("Opik", clock=clock)
    fail(breaker, tool, 5)
    clock.seconds += 30
    inside, leave = Barrier(4), Barrier(4)

    def work() -> None:
        inside.wait(timeout=20)
        leave.wait(timeout=20)

    threads = [Thread(target=lambda: breaker.call(work)) for _ in range(3)]
    for thread in threads:
        thread.start()
    inside.wait(timeout=20)
    with pytest.raises(ToolUnavailable):
        breaker.call(tool)
    leave.wait(timeout=20)
    for thread in threads:
        thread.join(timeout=20)
    assert breaker.state == "closed"
    assert tool.calls == 5


def test_result_from_before_it_opened_changes_nothing(clock: Clock, tool: Tool) -> None:
    breaker = CircuitBreaker("Opik", clock=clock)

    def slow(fails: bool) -> None:
        fail(breaker, tool, 5)
        clock.seconds += 10
        if fails:
            raise ConnectionError("late")

    breaker.call(lambda: slow(fails=False))
    assert breaker.state == "open"
    clock.seconds += 20
    assert breaker.state == "half_open"
    tool.works = True
    for _ in range(3):
        breaker.call(tool)
    tool.works = False
    with pytest.raises(ConnectionError, match="late"):
        breaker.call(lambda: slow(fails=True))
    clock.seconds += 20
    assert breaker.state == "half_open", "the late failure did not keep it open for longer"


def test_interrupted_call_counts_as_a_failure(clock: Clock) -> None:
    breaker = CircuitBreaker("Opik", failure_threshold=1, clock=clock)

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaker.call(interrupted)
    assert breaker.state == "open"


def test_spool_delivers_in_order_and_forgets(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "new" / "spans.jsonl")
    assert (len(spool), spool.deliver(lambda _: None)) == (0, 0)
    spool.add([{"n": 1}, {"n": 2}])
    spool.add([{"n": 3}])
    assert len(spool) == 3
    taken: list[Record] = []
    assert spool.deliver(taken.extend, batch=2) == 3
    assert (taken, len(spool)) == ([{"n": 1}, {"n": 2}, {"n": 3}], 0)


def test_spool_keeps_what_was_not_taken(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spans.jsonl")
    spool.add([{"n": n} for n in range(5)])
    taken: list[Record] = []

    def take_one_batch(batch: Sequence[Record]) -> None:
        if taken:
            raise ConnectionError("gone")
        taken.extend(batch)

    with pytest.raises(ConnectionError):
        spool.deliver(take_one_batch, batch=2)
    assert len(spool) == 3
    rest: list[Record] = []
    spool.deliver(rest.extend)
    assert [r["n"] for r in [*taken, *rest]] == [0, 1, 2, 3, 4]


def test_line_cut_short_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path / "spans.jsonl")
    spool.add([{"n": 1}])
    with spool.file.open("a") as file:
        file.write('{"n": ')
    spool.add([{"n": 3}])
    taken: list[Record] = []
    spool.deliver(taken.extend)
    assert taken == [{"n": 1}, {"n": 3}]
    assert "cut short" in caplog.text


def test_processes_that_share_a_spool_lose_nothing(tmp_path: Path) -> None:
    spools = [Spool(tmp_path / "spans.jsonl") for _ in range(4)]
    taken: list[Record] = []

    def work(number: int) -> None:
        for n in range(20):
            spools[number].add([{"id": f"{number}-{n}"}])
            if number == 0:
                spools[number].deliver(taken.extend)

    threads = [Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    spools[0].deliver(taken.extend)
    assert sorted(r["id"] for r in taken) == sorted(f"{number}-{n}" for number in range(4) for n in range(20))
