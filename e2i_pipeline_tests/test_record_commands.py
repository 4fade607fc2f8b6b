"""`e2i ledger`: every kind of tampering is found through the command line, and nothing is found where nothing was done.

The ledger is written by the product's own resources, then changed in the files as somebody with full rights would.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2i_pipeline.cli import main
from e2i_pipeline.config.loader import load_settings, settings
from e2i_pipeline.contracts.quality import Verdict, VerdictKey
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.metadata.ledger import entry_hash
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow_ledger import LEDGER_HEAD
from e2i_pipeline_tests.processes import Done, Product
from e2i_pipeline_tests.resources.mlflow_stores import client_of, store_in

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXPERIMENT = "e2i/Kisqali-treatment_initiated"
TOOLS = ("mlflow", "opik", "great_expectations", "feast", "optuna", "shap", "bentoml")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder whose ledger has five entries, anchored in the file, and the third of them in MLflow."""
    state = tmp_path_factory.mktemp("written") / "state"
    product = Product(state)
    metadata, mlflow = metadata_of(product), store_in(state)
    run = mlflow.open_run("k1", "Kisqali", "Kisqali-treatment_initiated", "k1").run_id
    for n in range(4):
        key = VerdictKey(subject="patient_journeys", data_version=f"d{n}", suite_hash="s", gate_hash="g")
        at = NOON + timedelta(hours=n)
        reasons = () if n else ("3 of 12 | rows.",)
        metadata.record_verdict(
            Verdict(key=key, gate="data_quality", is_passed=n > 0, reasons=reasons, decided_at=at), {"tested_rows": n}
        )
        if n == 2:
            mlflow.anchor_ledger(run, metadata.ledger_head(), metadata.holds_entry)
    metadata.record_override(
        VerdictKey(subject="patient_journeys", data_version="d0", suite_hash="s", gate_hash="g"),
        "jane.doe@example.com",
        "The vendor confirmed it.",
        NOON,
    )
    assert client_of(mlflow).get_experiment_by_name(EXPERIMENT).tags[LEDGER_HEAD].startswith("3:")
    return state


def metadata_of(product: Product) -> MetadataResource:
    return build_resources(load_settings(product.environment))["metadata"]  # type: ignore[return-value]


@pytest.fixture
def product(written: Path, tmp_path: Path) -> Product:
    """A copy of that state folder."""
    shutil.copytree(written, tmp_path / "state")
    return Product(tmp_path / "state")


Command = Callable[..., Done]


@pytest.fixture
def e2i(product: Product, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """The command line in this process, with the product's environment; a process of its own costs seconds."""
    for name in set(os.environ) - set(product.environment):
        monkeypatch.delenv(name)

    def run(*arguments: str, **more: str) -> Done:
        for name, value in {**product.environment, **more}.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        capsys.readouterr()
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Done(status, *capsys.readouterr())

    yield run
    settings.cache_clear()


def changed(product: Product, *statements: str) -> None:
    with sqlite3.connect(product.state / "metadata.db") as connection:
        for change in ("update", "delete"):
            connection.execute(f"DROP TRIGGER ml_ledger_no_{change}")
        for statement in statements:
            connection.execute(statement)


def edit_payload(product: Product) -> None:
    changed(product, "UPDATE ml_ledger SET payload = replace(payload, 'figures', 'numbers') WHERE sequence = 2")


def edit_actor(product: Product) -> None:
    changed(product, "UPDATE ml_ledger SET actor = 'john.roe@example.com' WHERE sequence = 5")


def delete_a_middle_one(product: Product) -> None:
    changed(product, "DELETE FROM ml_ledger WHERE sequence = 3")


def delete_the_last_two(product: Product) -> None:
    changed(product, "DELETE FROM ml_ledger WHERE sequence > 3")


def delete_everything(product: Product) -> None:
    changed(product, "DELETE FROM ml_ledger", "DELETE FROM ml_gate_verdicts")


def remove_the_database(product: Product) -> None:
    for file in product.state.glob("metadata.db*"):
        file.unlink()


def swap(product: Product) -> None:
    moves = ((2, 9), (3, 2), (9, 3))
    changed(product, *(f"UPDATE ml_ledger SET sequence = {to} WHERE sequence = {at}" for at, to in moves))


def rewrite_from_the_fourth_on(product: Product) -> None:
    """Another actor from there on, with hashes and links as they should be: the chain itself is whole."""
    entries = metadata_of(product).ledger()
    before, statements = entries[2]["hash"], []
    for entry in entries[3:]:
        entry |= {"actor": "john.roe@example.com", "prev_hash": before}
        before = entry["hash"] = entry_hash(entry)
        said = ", ".join(f"{name} = '{entry[name]}'" for name in ("actor", "prev_hash", "hash"))
        statements.append(f"UPDATE ml_ledger SET {said} WHERE sequence = {entry['sequence']}")
    changed(product, *statements)


def forge_a_pass(product: Product) -> None:
    changed(product, "UPDATE ml_gate_verdicts SET is_passed = 1, reasons = '[]' WHERE data_version = 'd0'")


def remove_the_anchor(product: Product) -> None:
    (product.state / "ledger" / "anchor.json").unlink()


def spoil_the_anchor(product: Product) -> None:
    (product.state / "ledger" / "anchor.json").write_text("{}", encoding="utf-8")


def move_the_tag(product: Product) -> None:
    with sqlite3.connect(product.state / "mlflow" / "mlflow.db") as connection:
        connection.execute("UPDATE experiment_tags SET value = ? WHERE key = ?", (f"9:{'a' * 64}", LEDGER_HEAD))


def test_a_whole_ledger_is_one_line(product: Product) -> None:
    done = product.e2i("ledger", "verify")

    head = metadata_of(product).ledger_head()
    assert (done.status, done.err) == (0, "")
    assert done.out == (
        f"The ledger holds: 5 entries, head {head.hash[:12]}; anchors checked: the file "
        f"{product.state}/ledger/anchor.json (entry 5), the tag e2i.ledger_head of MLflow's experiment {EXPERIMENT} "
        "(entry 3).\n"
    )


@pytest.mark.parametrize(
    ("tamper", "findings"),
    [
        (edit_payload, ["entry 2: its content does not match its hash: edited"]),
        (edit_actor, ["entry 5: its content does not match its hash: edited"]),
        (
            delete_a_middle_one,
            ["entry 4: before it, 3 is missing: deleted", "entry 3: it is not the entry that was anch"],
        ),
        (delete_the_last_two, ["entry 4: the ledger ends at entry 3, but its anchor in the file"]),
        (
            delete_everything,
            ["entry 1: the ledger ends at entry 0, but its anchor in the file", "in the tag e2i.ledger"],
        ),
        (remove_the_database, ["entry 1: the ledger ends at entry 0, but its anchor in the file"]),
        (swap, ["entry 2: it does not continue entry 1", "entry 3: it does not continue entry 2"]),
        (rewrite_from_the_fourth_on, ["entry 5: it is not the entry that was anchored in the file"]),
        (forge_a_pass, ["the stored verdict on patient_journeys (version d0) is not the one in the ledger"]),
        (remove_the_anchor, ["the anchor file ", "/ledger/anchor.json is missing: it was deleted"]),
        (spoil_the_anchor, ["/ledger/anchor.json cannot be read: somebody changed it"]),
        (
            move_the_tag,
            ["entry 6: the ledger ends at entry 5, but its anchor in the tag e2i.ledger_head of MLflow's exp"],
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_tampering_is_found_with_what_to_do(
    product: Product, e2i: Command, tamper: Callable[[Product], None], findings: list[str]
) -> None:
    tamper(product)

    done = e2i("ledger", "verify")

    assert (done.status, done.err) == (1, "")
    assert done.out.startswith("The ledger does not hold: ")
    for finding in findings:
        assert finding in done.out
    assert "What to do: keep the database and the anchors as they are" in done.out
    assert (product.state / "metadata.db").exists() == (tamper is not remove_the_database), "nothing is made anew"


def test_a_truncation_stays_found_after_the_product_went_on(product: Product) -> None:
    delete_the_last_two(product)
    metadata = metadata_of(product)
    for n in range(4):
        metadata.append_ledger("note", "a", "b", f"so it went on {n}", {}, NOON)

    done = product.e2i("ledger", "verify")

    assert done.status == 1
    assert "entry 5: it is not the entry that was anchored in the file" in done.out


def test_an_empty_state_folder_is_verified_and_left_empty(tmp_path: Path) -> None:
    done = Product(tmp_path / "state").module("e2i_pipeline.cli", "ledger", "verify")

    assert (done.status, done.out) == (0, "The ledger is empty, and so is what was noted of it.\n")
    assert list((tmp_path / "state").iterdir()) == []


def test_a_server_of_mlflow_is_not_asked_and_that_is_said(e2i: Command) -> None:
    done = e2i("ledger", "verify", MLFLOW_TRACKING_URI="http://127.0.0.1:9")

    assert done.status == 0, done.text
    assert "not read: MLflow's: its store is no SQLite file on this machine" in done.out


def test_verifying_imports_none_of_the_tools(product: Product) -> None:
    code = (
        "import sys; from e2i_pipeline.cli import main; status = main(['ledger', 'verify']);"
        f"print(status, sorted(set({TOOLS!r}) & set(sys.modules)))"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], env=product.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_export_writes_json_that_names_its_own_form_and_a_table_for_people(e2i: Command, tmp_path: Path) -> None:
    file = tmp_path / "ledger.json"
    done = e2i("ledger", "export", "--format", "json", "--output", str(file))

    assert (done.status, done.out) == (0, f"5 entries written to {file}.\n")
    document = json.loads(file.read_text(encoding="utf-8"))
    assert (document["format"], len(document["entries"]), len(document["anchors"])) == ("e2i-ledger", 5, 2)
    assert [entry["kind"] for entry in document["entries"]] == ["verdict"] * 4 + ["override"]

    table = e2i("ledger", "export")
    lines = table.out.splitlines()
    assert (table.status, len(lines)) == (0, 7)
    assert lines[2].startswith(
        "| 1 | 2026-03-01 12:00:00 UTC | verdict | patient_journeys | data_preparer | 3 of 12 \\| r"
    )
    assert "| override | patient_journeys | jane.doe@example.com | The vendor confirmed it. |" in lines[6]


def refused(done: Done) -> str:
    assert done.status == 1, done.text
    assert (done.out, "Traceback" in done.err) == ("", False)
    return done.err.strip()


def test_an_export_to_nowhere_says_so(e2i: Command) -> None:
    message = refused(e2i("ledger", "export", "--output", "/no/such/folder/ledger.md"))

    assert message.startswith(
        "ConfigurationError: The export cannot be written to /no/such/folder/ledger.md: No such f"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("--actor", "jane"),
            "OverrideRefused: The actor of an override must be a person, by e-mail address, and 'jane'",
        ),
        (
            ("--reason", "ok"),
            "OverrideRefused: An override needs a reason of 10 to 2,000 characters, and this one has 2.",
        ),
        (
            ("--table", "journeys"),
            "OverrideRefused: There is no table 'journeys' behind the gate. Tables: engagement_ev",
        ),
        (("--brand", "Kisquali"), "OverrideRefused: There is no brand 'Kisquali'. Configured brands: Remibrutinib, "),
    ],
)
def test_an_override_that_says_too_little_is_refused(
    product: Product, e2i: Command, arguments: tuple[str, str], expected: str
) -> None:
    said = {"--table": "training_dataset", "--actor": "jane.doe@example.com", "--reason": "It is a known defect."}
    options = [word for pair in (said | dict([arguments])).items() for word in pair]
    before = len(metadata_of(product).ledger())

    message = refused(e2i("gate", "override", *options))

    assert message.startswith(expected)
    assert len(metadata_of(product).ledger()) == before


@pytest.mark.parametrize("left_out", ["--table", "--actor", "--reason"])
def test_an_override_asks_for_table_actor_and_reason(e2i: Command, left_out: str) -> None:
    said = {"--table": "patient_journeys", "--actor": "jane.doe@example.com", "--reason": "It is a known defect."}
    options = [word for name, value in said.items() if name != left_out for word in (name, value)]

    done = e2i("gate", "override", *options)

    assert done.status == 2
    assert f"the following arguments are required: {left_out}" in done.err
