"""The whole graph on a drop full of tokens, with the network cut off, and then three failures with rows in hand.

Nothing that names anybody is in any byte that the processes wrote, wherever they wrote it; nothing private is outside
the tables; and nothing tried to reach another machine.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline_tests import canary, offline, state_contents
from e2i_pipeline_tests.processes import PROJECT, Done, Product

JOURNEYS = 500
TABLE_FOLDERS = ("staging", "published", "features", "training", "predictions")
"""Of the state folder: what holds rows. What is private may be there, under pseudonyms."""


class Ran(NamedTuple):
    """What the processes left: their files (all of them below `root`), and what they said."""

    root: Path
    is_offline: bool
    said: dict[str, Done]

    @property
    def attempts(self) -> list[str]:
        """What tried to reach another machine."""
        return offline.attempts(self.root / "hook.log", self.root / "trace.log")

    def holding(self, pattern: str) -> list[str]:
        """The files that hold a text, but for the drop itself."""
        found = state_contents.holding(self.root, pattern)
        return [path for path in found if not path.startswith("drop/")]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    root = tmp_path_factory.mktemp("escapes")
    drop = canary.tables(JOURNEYS)
    canary.write(root / "drop", drop)
    cut_off = offline.namespace()
    story = Ran(root, bool(cut_off), {})

    def tell(name: str, done: Done) -> None:
        story.said[name] = done
        (root / f"{name}.txt").write_text(done.text, encoding="utf-8")

    tell("good", _product(root, cut_off).e2i("run"))
    product = _product(root)
    canary.write(root / "drop", {**drop, "patient_journeys": _spoilt(drop["patient_journeys"])})
    tell("refused", product.materialize("+validated_dataset"))
    shutil.rmtree(product.state / "references" / "results")  # so that the next two do the work again
    (product.state / "features" / "patient_features" / "last.json").unlink()
    journeys, modelling = _published_journeys(product.state), _only(product.state / "training" / "Kisqali")
    with _with_tokens(journeys, "journey_start_date"):
        tell("broken table", product.materialize("patient_features"))
    with _with_tokens(modelling, "target"):
        tell("broken target", _product(root, trials="3").materialize("hyperparameter_study", "Kisqali"))
    return story


def _product(root: Path, within: list[str] | None = None, trials: str = "2") -> Product:
    """The product, whose temporary files and home lie below `root` too."""
    for folder in ("tmp", "home"):
        (root / folder).mkdir(exist_ok=True)
    watched = [*within, *offline.tracer(root / "trace.log")] if within else []
    return Product(
        root / "state",
        within=watched,
        E2I_CONFIG=str(PROJECT / "examples" / "files.yaml"),
        E2I_DATA=str(root / "drop"),
        E2I__BRANDS="[Kisqali]",
        E2I__OPTUNA__SEARCH__N_TRIALS=trials,
        E2I__SUCCESS_CRITERIA="{minimum_auc: 0.5, minimum_precision_at_k: 0.0, maximum_fpr: 1.0, capacity: 0.1}",
        TMPDIR=str(root / "tmp"),
        HOME=str(root / "home"),
        **offline.watching(root / "hook.log"),
    )


def _spoilt(journeys: pa.Table) -> pa.Table:
    """Journeys that stand twice, of brands that nobody configured."""
    brands = pa.array([canary.token("brand", i, "p") for i in range(journeys.num_rows)])
    spoilt = journeys.set_column(journeys.column_names.index("brand"), "brand", brands)
    return pa.concat_tables([spoilt, spoilt.slice(0, 5)])


def _published_journeys(state: Path) -> Path:
    manifest = json.loads((state / "published" / "manifest.json").read_text(encoding="utf-8"))
    return Path(manifest["tables"]["patient_journeys"]["location"])


def _only(folder: Path) -> Path:
    [path] = folder.rglob("*.parquet")
    return path


@contextmanager
def _with_tokens(path: Path, column: str) -> Iterator[None]:
    """A table that is damaged for a while: tokens stand where dates or numbers are expected."""
    whole = path.read_bytes()
    table = pq.read_table(path)
    tokens = pa.array([canary.token("value", i, "p") for i in range(table.num_rows)])
    pq.write_table(table.set_column(table.column_names.index(column), column, tokens), path)
    yield
    path.write_bytes(whole)


def test_the_run_used_every_stage(ran: Ran) -> None:
    good = ran.said["good"]

    assert good.status == 0, good.text
    for asset in ("deployment", "batch_predictions", "model_card", "run_report"):
        assert f"s  {asset}" in good.err
    assert "nothing was promoted" not in good.text


def test_the_failures_had_rows_in_hand(ran: Ran) -> None:
    assert {name: done.status for name, done in ran.said.items() if name != "good"} == {
        "refused": 1,
        "broken table": 1,
        "broken target": 1,
    }
    assert f"brand_is_configured (critical) failed: {JOURNEYS + 5} of {JOURNEYS + 5} rows" in ran.said["refused"].text
    assert "ConversionException in patient_features. This is a defect" in ran.said["broken table"].text
    assert "ValueError in hyperparameter_study. This is a defect" in ran.said["broken target"].text


def test_the_search_finds_what_is_there(ran: Ran) -> None:
    named = set(state_contents.holding(ran.root / "drop", canary.NAMED))
    private = ran.holding(canary.PRIVATE)

    assert named == {f"{table}.csv" for table in TABLES}
    assert {path.split("/")[2] for path in private} == {"patient_journeys", "treatment_events", "hcp_profiles"}


def test_nobody_is_named_in_any_byte(ran: Ran) -> None:
    assert len(state_contents.files(ran.root)) > 200
    assert ran.holding(canary.NAMED) == []


def test_what_is_private_is_in_tables_only(ran: Ran) -> None:
    allowed = tuple(f"state/{folder}/" for folder in TABLE_FOLDERS)

    assert [path for path in ran.holding(canary.PRIVATE) if not path.startswith(allowed)] == []


def test_nothing_tries_to_reach_another_machine(ran: Ran) -> None:
    assert ran.attempts == []
    if not ran.is_offline:
        pytest.skip("this kernel gives no network namespace (unshare --net), or ip is missing: it ran with a network")


REACHING: dict[str, str] = {
    "a connection": "import socket; socket.socket().connect_ex(('192.0.2.1', 80))",
    "a name": "import socket; socket.getaddrinfo('e2i.invalid', 80)",
    "a datagram": "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 80))",
    "a connection of a grandchild": (
        "import subprocess, sys; "
        "subprocess.run([sys.executable, '-c', 'import socket; socket.socket().connect_ex((\"192.0.2.1\", 80))'])"
    ),
}


@pytest.mark.parametrize("code", REACHING.values(), ids=REACHING)
def test_what_tries_to_reach_another_machine_is_seen(tmp_path: Path, code: str) -> None:
    cut_off = offline.namespace()
    if not cut_off:
        pytest.skip("this kernel gives no network namespace (unshare --net), or ip is missing")
    hook, trace = tmp_path / "hook.log", tmp_path / "trace.log"
    within = [*cut_off, *offline.tracer(trace)]

    Product(tmp_path / "state", within=within, **offline.watching(hook)).python(code)

    assert any("by" in attempt for attempt in offline.attempts(hook, tmp_path / "none"))
    if offline.tracer(trace) and code != REACHING["a name"]:  # without a name server configured none is asked
        assert any("192.0.2.1" in attempt for attempt in offline.attempts(tmp_path / "none", trace))


def test_what_stays_on_this_machine_is_no_attempt(tmp_path: Path) -> None:
    code = (
        "import socket; served = socket.create_server(('127.0.0.1', 0)); "
        "socket.create_connection(('localhost', served.getsockname()[1])); socket.getaddrinfo(None, 0)"
    )

    Product(tmp_path / "state", **offline.watching(tmp_path / "hook.log")).python(code)

    assert offline.attempts(tmp_path / "hook.log", tmp_path / "none") == []
