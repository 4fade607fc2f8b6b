"""The frame of the benchmarks, with toy bars: verdicts, answers, the record. No time is judged here."""

import contextlib
import json
import os
import platform
import signal
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.frame.bar import BarError, Outcome, beyond, beyond_per, growth, peak, ratio
from benchmarks.frame.child import run_python
from benchmarks.frame.command import RESULTS, main
from benchmarks.frame.discovery import bars_in, names_in

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

TOY = '''
"""A toy bar."""

from benchmarks.frame.bar import Bar, Outcome, Room, {limit}


def product(room: Room) -> Outcome:
    (room.folder / "product").touch(exist_ok=False)
    return Outcome({seconds}, 10.0, {answer}, {{"piece": 4}})


def reference(room: Room) -> Outcome:
    (room.folder / "reference").touch(exist_ok=False)
    assert list(room.shared.iterdir()) == []
    return Outcome(2.0, 20.0, {{"sum": 3, "rows": room.sizes["rows"]}})


BAR = Bar(
    name="{name}",
    limits=({limit}({arguments}),),
    product="a toy",
    reference="another toy",
    run_product=product,
    run_reference=reference,
    sizes={{"rows": 1000}},
    quick_sizes={{"rows": 10}},
    pairs=3,
    quick_pairs=2,
)
'''
SAME = '{"sum": 3, "rows": room.sizes["rows"]}'


def toy(
    folder: Path, name: str, seconds: float, limit: str = "ratio", arguments: str = "1.3", answer: str = SAME
) -> None:
    """Writes a toy bar whose product says that it took so long, where the reference took 2 s."""
    text = TOY.format(name=name, seconds=seconds, limit=limit, arguments=arguments, answer=answer)
    (folder / f"{name}.py").write_text(text, encoding="utf-8")


def record(folder: Path) -> list[dict[str, Any]]:
    """What was written down."""
    return json.loads((folder / RESULTS).read_text(encoding="utf-8"))


def test_a_bar_that_holds_prints_one_line_and_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy(tmp_path, "light", seconds=2.5)

    status = main([], tmp_path)

    assert status == 0
    assert capsys.readouterr().out == "light  ratio 1.25 (1.25..1.25)  limit 1.3  holds\n"


def test_a_bar_that_falls_short_is_said_and_ends_in_failure_while_the_others_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy(tmp_path, "heavy", seconds=3.0)
    toy(tmp_path, "light", seconds=2.0)

    status = main(["--quick"], tmp_path)

    assert status == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("  ")[2] for line in lines] == ["falls short", "holds"]
    assert [entry["holds"] for entry in record(tmp_path)] == [False, True]


@pytest.mark.parametrize(
    ("limit", "arguments", "seconds", "figure", "holds"),
    [
        ("beyond", "5.0", 6.5, 4.5, True),
        ("beyond", "5.0", 7.5, 5.5, False),
        ("beyond_per", '"piece", 0.5', 3.0, 0.25, True),
        ("beyond_per", '"piece", 0.5', 6.0, 1.0, False),
    ],
)
def test_a_limit_may_be_one_in_seconds(
    tmp_path: Path, limit: str, arguments: str, seconds: float, figure: float, holds: bool
) -> None:
    toy(tmp_path, "late", seconds=seconds, limit=limit, arguments=arguments)

    status = main(["--quick"], tmp_path)

    assert status == (0 if holds else 1)
    (entry,) = record(tmp_path)
    assert entry["figures"][0]["median"] == figure
    assert entry["figures"][0]["unit"] == "s"


def test_a_limit_may_be_one_on_the_products_memory() -> None:
    limit = peak(2048)
    assert limit.of(Outcome(1.0, 900.5, None), Outcome(1.0, 5000.0, None)) == 900.5
    assert (limit.figure, limit.unit, limit.at_most) == ("peak memory", " MiB", 2048)


def test_a_limit_may_be_one_on_how_a_larger_size_costs_more_than_the_reference() -> None:
    product = Outcome(30.0, 1.0, None, {"small, s": 3.0})  # 10 times
    reference = Outcome(24.0, 1.0, None, {"small, s": 3.0})  # 8 times
    assert growth("small, s", 1.1).of(product, reference) == 1.25
    assert growth("small, s", 1.1).of(reference, product) == 0.8


def test_different_answers_are_an_error_and_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy(tmp_path, "wrong", seconds=1.0, answer='{"sum": 4, "rows": room.sizes["rows"]}')

    status = main([], tmp_path)

    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert "different answers" in said.err
    assert "sum: 4 and 3" in said.err
    assert not (tmp_path / RESULTS).exists()


def test_the_record_grows_and_names_neither_machine_nor_place(tmp_path: Path) -> None:
    toy(tmp_path, "light", seconds=2.5)

    main([], tmp_path)
    main(["--quick"], tmp_path)

    first, second = record(tmp_path)
    assert (first["is_quick"], first["sizes"], len(first["pairs"])) == (False, {"rows": 1000}, 3)
    assert (second["is_quick"], second["sizes"], len(second["pairs"])) == (True, {"rows": 10}, 2)
    assert [pair["first"] for pair in first["pairs"]] == ["product", "reference", "product"]
    assert first["peak_mib"] == {"product": 10.0, "reference": 20.0}
    assert first["python"] == platform.python_version()
    text = (tmp_path / RESULTS).read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert socket.gethostname() not in text
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["light.py", RESULTS]


def test_a_record_that_cannot_be_read_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy(tmp_path, "light", seconds=2.5)
    (tmp_path / RESULTS).write_text("half of", encoding="utf-8")

    status = main([], tmp_path)

    assert status == 2
    assert "is not JSON" in capsys.readouterr().err
    assert (tmp_path / RESULTS).read_text(encoding="utf-8") == "half of"


def test_an_unknown_name_is_answered_with_those_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy(tmp_path, "heavy", seconds=2.0)
    toy(tmp_path, "light", seconds=2.0)

    status = main(["--bar", "hevy"], tmp_path)

    assert status == 2
    assert capsys.readouterr().err == "There is no bar 'hevy'. There are: heavy, light.\n"


def test_one_bar_can_be_asked_for(tmp_path: Path) -> None:
    toy(tmp_path, "heavy", seconds=9.0)
    toy(tmp_path, "light", seconds=2.0)

    assert main(["--bar", "light"], tmp_path) == 0
    assert [entry["bar"] for entry in record(tmp_path)] == ["light"]


def test_a_module_that_declares_no_bar_of_its_name_is_refused(tmp_path: Path) -> None:
    toy(tmp_path, "light", seconds=2.0)
    (tmp_path / "light.py").rename(tmp_path / "other.py")

    with pytest.raises(BarError, match=r"other\.py is no bar"):
        bars_in(tmp_path)


def test_every_bar_of_the_product_is_found() -> None:
    bars = {bar.name: bar for bar in bars_in(BENCHMARKS)}

    assert list(bars) == names_in(BENCHMARKS)
    promised = {"definitions_import", "step_overhead", "rerun_unchanged", "gate_scan", "gate_overhead"}
    promised |= {"synthetic_rate", "train_1m", "tracking_overhead"}
    promised |= {"study_speed", "study_scaling", "effect_fit", "effect_coverage", "effect_null"}
    assert promised <= set(bars)
    for bar in bars.values():
        assert bar.limits
        assert min(bar.pairs, bar.quick_pairs) >= (1 if bar.reference.startswith("nothing") else 2)
        assert set(bar.quick_sizes) in (set(), set(bar.sizes))


def test_the_limits_of_the_product_are_those_that_were_promised() -> None:
    limits = {bar.name: [(limit.figure, limit.at_most) for limit in bar.limits] for bar in bars_in(BENCHMARKS)}

    assert limits["definitions_import"] == [(ratio(1.3).figure, 1.3)]
    assert limits["rerun_unchanged"] == [(beyond(5.0).figure, 5.0)]
    assert limits["gate_scan"] == [("ratio", 2.0), (peak(2048).figure, 2048), (growth("", 1.1).figure, 1.1)]
    assert limits["gate_overhead"] == [(beyond(3.0).figure, 3.0)]
    assert limits["synthetic_rate"] == [("ratio", 3.0), (peak(2048).figure, 2048)]
    assert limits["train_1m"] == [("ratio", 1.2), (peak(4096).figure, 4096)]
    assert limits["step_overhead"] == [("ratio", 1.15), (beyond_per("asset", 0.5).figure, 0.5)]


def test_a_child_tells_its_own_peak_memory(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from benchmarks.frame.child import run_python\n"
        "for name, rows in (('large', 200), ('small', 1)):\n"
        "    print(run_python(Path(name), ['-c', f'held = bytearray({rows} * 2**20)']).peak_mib)"
    )

    done = run_python(tmp_path, ["-c", program])  # from a small process: none is said to hold less than its parent

    large, small = map(float, done.out.split())
    assert large > 200 > small
    assert done.peak_mib >= large


def test_a_child_that_fails_says_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(BarError, match=r"status 3(?s:.)*no such thing"):
        run_python(tmp_path, ["-c", "import sys; print('no such thing', file=sys.stderr); sys.exit(3)"])


def test_a_child_whose_caller_is_interrupted_is_ended_with_what_it_started(tmp_path: Path) -> None:
    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getppid(), 2)\n"
        "time.sleep(600)"
    )

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker of the tests ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            run_python(tmp_path, ["-c", program])
    finally:
        signal.signal(signal.SIGINT, before)

    started = int((tmp_path / "stdout").read_text(encoding="utf-8"))
    with contextlib.suppress(psutil.NoSuchProcess):  # nobody may be left to take its status
        psutil.Process(started).wait(60)
    assert not psutil.pid_exists(started) or psutil.Process(started).status() == psutil.STATUS_ZOMBIE


def test_what_the_user_set_for_the_product_does_not_reach_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("E2I_STATE_DIR", "mine")
    monkeypatch.setenv("DAGSTER_HOME", "mine")
    program = "import os; print(sorted(name for name in os.environ if name.startswith(('E2I', 'DAGSTER_HOME'))))"

    done = run_python(tmp_path, ["-c", program], {"E2I_PROFILE": "local"})

    assert done.out == "['E2I_PROFILE']\n"
    assert os.environ["E2I_STATE_DIR"] == "mine"
