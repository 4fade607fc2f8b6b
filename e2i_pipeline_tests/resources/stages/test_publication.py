"""Publishing: cuts that stay, one manifest for all tables, and a last good one that nothing half done replaces."""

import json
import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from e2i_pipeline.contracts.quality import Override
from e2i_pipeline.contracts.references import DatasetRef
from e2i_pipeline.errors import CohortTooSmall, E2IError
from e2i_pipeline.resources.engine import parquet
from e2i_pipeline_tests.resources.stages.published_tables import AS_OF, FIRST, publication, publish, tables


def manifest(folder: Path) -> Path:
    return folder / "state" / "published" / "manifest.json"


def split_of(dataset: DatasetRef) -> dict[str, str]:
    rows = duckdb.sql(f"SELECT patient_journey_id, data_split FROM {parquet(dataset.assignments.location)}")
    return dict(rows.fetchall())


def test_the_manifest_holds_all_tables_and_each_journeys_split(tmp_path: Path) -> None:
    given = tables(tmp_path / "one", range(1000))
    dataset = publish(publication(tmp_path), given)

    assert dataset.tables == given
    assert dataset.as_of == AS_OF
    assert publication(tmp_path).current() == dataset
    assert json.loads(manifest(tmp_path).read_text(encoding="utf-8")) == dataset.model_dump(mode="json")
    assert Path(dataset.manifest).read_bytes() == manifest(tmp_path).read_bytes()


def test_counts_are_those_of_the_assignments(tmp_path: Path) -> None:
    dataset = publish(publication(tmp_path), tables(tmp_path / "one", range(1000)))

    assert Counter(split_of(dataset).values()) == dataset.split_counts
    assert sum(dataset.split_counts.values()) == dataset.assignments.rows == 1000
    assert set(dataset.split_counts) == {"train", "validation", "test", "holdout", "unassigned"}
    learning = 1000 - dataset.split_counts["unassigned"]
    assert dataset.split_counts["train"] / learning == pytest.approx(0.6, abs=0.03)
    assert dataset.split_counts["holdout"] / learning == pytest.approx(0.05, abs=0.03)


def test_a_journey_whose_outcome_is_open_is_in_no_split(tmp_path: Path) -> None:
    dataset = publish(publication(tmp_path), tables(tmp_path / "one", range(1000)))

    open_since = (AS_OF.date() - timedelta(days=180) - FIRST).days
    assert {split_of(dataset)[f"journey-{i:05}"] for i in range(open_since + 1, 1000)} == {"unassigned"}
    rows = f"SELECT count(*) FROM {parquet(dataset.assignments.location)} WHERE NOT is_mature"
    assert duckdb.sql(rows).fetchall() == [(1000 - open_since - 1,)]


def test_cuts_stay_and_no_journey_moves_when_rows_are_added(tmp_path: Path) -> None:
    first = publish(publication(tmp_path), tables(tmp_path / "one", range(600)))
    second = publish(publication(tmp_path), tables(tmp_path / "two", range(900)))

    assert second.cuts == first.cuts
    assert second.key != first.key
    before, after = split_of(first), split_of(second)
    assert {journey: after[journey] for journey in before} == before
    assert second.split_counts["holdout"] > first.split_counts["holdout"]


def test_a_raised_version_computes_the_cuts_anew(tmp_path: Path) -> None:
    first = publish(publication(tmp_path), tables(tmp_path / "one", range(600)))
    second = publish(publication(tmp_path, version=2), tables(tmp_path / "two", range(900)))

    assert (first.cuts.version, second.cuts.version) == (1, 2)
    assert second.cuts.train_end > first.cuts.train_end


def test_cuts_of_another_gap_are_computed_anew(tmp_path: Path) -> None:
    given = tables(tmp_path / "one", range(900))
    days = publish(publication(tmp_path), given)
    month = publication(tmp_path, gap="horizon").model_copy(update={"cohort": {"outcome_window_days": 30}})
    horizon = publish(month, given)

    assert (days.cuts.gap_days, horizon.cuts.gap_days) == (7, 30)
    assert horizon.split_counts["unassigned"] > days.split_counts["unassigned"]


def test_publishing_the_same_again_is_the_same(tmp_path: Path) -> None:
    given = tables(tmp_path / "one", range(600))
    first = publish(publication(tmp_path), given)
    before = manifest(tmp_path).read_bytes()

    assert publish(publication(tmp_path), given) == first
    assert manifest(tmp_path).read_bytes() == before


def test_the_key_is_of_everything_that_decides(tmp_path: Path) -> None:
    given, other = tables(tmp_path / "one", range(600)), tables(tmp_path / "two", range(601))
    published = publication(tmp_path)
    keys = [
        published.key(given, AS_OF, "code"),
        published.key(other, AS_OF, "code"),
        published.key(given, AS_OF + timedelta(days=1), "code"),
        published.key(given, AS_OF, "changed code"),
        publication(tmp_path, train=0.55, validation=0.25).key(given, AS_OF, "code"),
        published.model_copy(update={"cohort": {"outcome_window_days": 90}}).key(given, AS_OF, "code"),
        published.model_copy(update={"target": "another"}).key(given, AS_OF, "code"),
    ]

    assert len(set(keys)) == len(keys)
    assert published.key(dict(reversed(given.items())), AS_OF, "code") == keys[0]


def test_an_overridden_dataset_has_a_key_of_its_own_and_names_the_person(tmp_path: Path) -> None:
    given, published = tables(tmp_path / "one", range(600)), publication(tmp_path)
    held = Override(
        subject="patient_journeys",
        data_version=given["patient_journeys"].version,
        actor="jane.doe@example.com",
        reason="The vendor confirmed it.",
        failed=("3 of 12 rows.",),
        at=AS_OF,
        entry=7,
    )
    again = held.model_copy(update={"entry": 9})
    answers = [(), [held], [again], [held, again]]

    keys = [published.key(given, AS_OF, "code", answer) for answer in answers]
    clean, overridden = (
        published.publish(key, given, AS_OF, answer) for key, answer in zip(keys[:2], answers[:2], strict=True)
    )

    assert len(set(keys)) == 4
    assert keys[0] == published.key(given, AS_OF, "code")
    assert clean.key != overridden.key
    assert (clean.overrides, overridden.overrides) == ((), (held,))
    assert json.loads(manifest(tmp_path).read_text(encoding="utf-8"))["overrides"][0]["actor"] == "jane.doe@example.com"


def test_kept_cuts_are_part_of_the_datasets_key(tmp_path: Path) -> None:
    """What was published before decides the cuts, so the tables alone do not name the dataset."""
    given = tables(tmp_path / "one", range(900))
    alone = publish(publication(tmp_path / "fresh"), given)
    publish(publication(tmp_path), tables(tmp_path / "few", range(600)))
    after = publish(publication(tmp_path), given)

    assert after.cuts != alone.cuts
    assert after.key != alone.key


def test_a_dataset_published_before_can_be_shown_again(tmp_path: Path) -> None:
    first = publish(publication(tmp_path), tables(tmp_path / "one", range(600)))
    before = manifest(tmp_path).read_bytes()
    publish(publication(tmp_path), tables(tmp_path / "two", range(900)))

    publication(tmp_path).make_current(first)

    assert manifest(tmp_path).read_bytes() == before
    assert publication(tmp_path).current() == first


def test_a_failure_leaves_the_last_good_manifest(tmp_path: Path) -> None:
    publish(publication(tmp_path), tables(tmp_path / "one", range(600)))
    before = manifest(tmp_path).read_bytes()
    broken = tables(tmp_path / "two", range(900))
    Path(broken["patient_journeys"].location).write_bytes(b"no Parquet")

    with pytest.raises(duckdb.Error):
        publish(publication(tmp_path), broken)
    with pytest.raises(CohortTooSmall, match="lie on 2 index date"):
        publish(publication(tmp_path, version=2), tables(tmp_path / "three", range(2)))

    assert manifest(tmp_path).read_bytes() == before
    assert [path.name for path in manifest(tmp_path).parent.iterdir() if path.name.startswith(".")] == []


def test_too_few_journeys_publish_nothing(tmp_path: Path) -> None:
    with pytest.raises(CohortTooSmall):
        publish(publication(tmp_path), tables(tmp_path / "one", range(3)))

    assert publication(tmp_path).current() is None
    assert not manifest(tmp_path).exists()


def test_a_reader_sees_one_whole_manifest_or_the_other(tmp_path: Path) -> None:
    given = [tables(tmp_path / "one", range(600)), tables(tmp_path / "two", range(900))]
    datasets = [publish(publication(tmp_path), each) for each in given]
    seen: list[DatasetRef | None] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            seen.append(publication(tmp_path).current())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(12):
        publish(publication(tmp_path), given[turn % 2])
    is_over.set()
    reader.join()

    assert seen
    assert all(dataset in datasets for dataset in seen)


def test_an_unreadable_manifest_is_named_with_the_way_out(tmp_path: Path) -> None:
    manifest(tmp_path).parent.mkdir(parents=True)
    manifest(tmp_path).write_text("{", encoding="utf-8")

    with pytest.raises(
        E2IError, match=r"manifest\.json is not readable\. Publish again: materialize validated_dataset"
    ):
        publication(tmp_path).current()


_PUBLISHES = """
import json, sys
from datetime import datetime
from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.resources.stages.publication import PublicationResource
published = PublicationResource.model_validate_json(sys.argv[1])
given = {name: TableRef.model_validate(table) for name, table in json.loads(sys.argv[2]).items()}
as_of = datetime.fromisoformat(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for turn in range(15):
    published.publish(published.key(given, as_of, "code"), given, as_of)
"""


def test_two_processes_that_publish_at_once_leave_one_of_two_whole_datasets(tmp_path: Path) -> None:
    drops = [tables(tmp_path / "one", range(600)), tables(tmp_path / "two", range(900))]
    whole = [publish(publication(tmp_path), drop) for drop in drops]  # the cuts are those of the first from now on
    orders = [json.dumps({name: table.model_dump(mode="json") for name, table in drop.items()}) for drop in drops]
    common = [sys.executable, "-c", _PUBLISHES, publication(tmp_path).model_dump_json()]
    processes = [
        subprocess.Popen([*common, order, AS_OF.isoformat()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        for order in orders
    ]
    assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n", "ready\n"]
    seen: list[DatasetRef | None] = []
    for process in processes:
        process.stdin.write("go\n")  # type: ignore[union-attr] - it is a pipe
        process.stdin.flush()  # type: ignore[union-attr]
    while any(process.poll() is None for process in processes):
        seen.append(publication(tmp_path).current())
    for process in processes:
        process.communicate()

    assert [process.returncode for process in processes] == [0, 0]
    assert all(dataset in whole for dataset in [*seen, publication(tmp_path).current()])
    assert len(seen) > 1
    by_key = tmp_path / "state" / "published" / "by-key"
    assert {path.stem for path in by_key.iterdir()} == {dataset.key for dataset in whole}


_DIES_PUBLISHING = """
import json, os, signal, sys
from datetime import datetime
from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.resources.stages.publication import PublicationResource
published = PublicationResource.model_validate_json(sys.argv[1])
given = {name: TableRef.model_validate(table) for name, table in json.loads(sys.argv[2]).items()}
as_of, at, seen = datetime.fromisoformat(sys.argv[3]), int(sys.argv[4]), []
def hook(event, arguments):
    if event in ("os.rename", "os.remove", "os.rmdir", "os.truncate"):
        seen.append(event)
        if len(seen) == at:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
published.publish(published.key(given, as_of, "code"), given, as_of)
"""


def test_wherever_a_publication_is_killed_the_old_or_the_new_dataset_is_there(tmp_path: Path) -> None:
    """Before each of its lasting changes in turn, until one publication comes through."""
    before = publish(publication(tmp_path), tables(tmp_path / "one", range(600)))
    seen: list[DatasetRef] = []
    status = -9
    while status == -9:
        given = tables(tmp_path / "two", range(900 + len(seen)))
        order = json.dumps({name: table.model_dump(mode="json") for name, table in given.items()})
        arguments = [publication(tmp_path).model_dump_json(), order, AS_OF.isoformat(), str(len(seen) + 1)]
        status = subprocess.run([sys.executable, "-c", _DIES_PUBLISHING, *arguments], check=False).returncode  # noqa: S603
        found = publication(tmp_path).current()
        assert found is not None
        assert found == before or found.tables == given
        assert Path(found.manifest).read_bytes() == manifest(tmp_path).read_bytes()
        assert len(split_of(found)) == found.assignments.rows
        assert all(Path(table.location).is_file() for table in found.tables.values())
        seen.append(found)
        before = found

    assert status == 0
    assert len(seen) > 3
    assert before.tables == given
