"""Data docs in a bucket of a real S3 API on loopback: pages, what is behind them, and an audit that stands without."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from e2i_pipeline.contracts.quality import ValidationReport
from e2i_pipeline.storage.presentation import data_docs_metadata
from e2i_pipeline_tests import servers
from e2i_pipeline_tests.resources.audit_tables import GOOD, PARAMETERS, auditor, profiles, stage

s3 = servers.s3

_AUDIT = """
import sys
from pathlib import Path
from e2i_pipeline_tests.resources.audit_tables import GOOD, PARAMETERS, auditor, stage
folder, site, table = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
gx = auditor(folder, data_docs=site)
audited = stage(folder, table, GOOD[table][1]())
print("ready", flush=True)
sys.stdin.readline()
report = gx.validate(audited, GOOD[table][0], PARAMETERS)
print(report.data_docs or report.data_docs_problem, flush=True)
"""


def audited(folder: Path, site: str, table: str = "hcp_profiles", **changed: Any) -> ValidationReport:
    suite, good = GOOD[table]
    return auditor(folder, data_docs=site, **changed).validate(stage(folder, table, good()), suite, PARAMETERS)


def test_pages_lie_in_the_bucket_with_what_is_behind_them(tmp_path: Path, s3: servers.S3) -> None:
    bucket = s3.bucket()

    report = audited(tmp_path, f"s3://{bucket}/docs")

    objects = s3.objects(bucket)
    page = report.data_docs.removeprefix(f"{s3.url}/{bucket}/")
    assert page.startswith("docs/validations/e2i_hcp_profiles/")
    assert b"specialty_is_known" in objects[page] or b"specialty" in objects[page]
    assert {key.split("/")[1] for key in objects} == {
        *("expectations", "index.html", "results", "static", "suites", "validations")
    }
    assert b"e2i_hcp_profiles" in objects["docs/index.html"]
    assert report.data_docs_problem == ""
    assert data_docs_metadata([report])["data_docs"].url == report.data_docs


def test_the_index_lists_earlier_audits_too(tmp_path: Path, s3: servers.S3) -> None:
    bucket = s3.bucket()
    pages = [audited(tmp_path, f"s3://{bucket}", table).data_docs for table in ("hcp_profiles", "engagement_events")]

    objects = s3.objects(bucket)

    for page in pages:
        path = page.removeprefix(f"{s3.url}/{bucket}/")
        assert path in objects
        assert path.rpartition("/")[0].encode() in objects["index.html"]


def test_what_is_behind_the_pages_may_lie_elsewhere(tmp_path: Path, s3: servers.S3) -> None:
    pages, behind = s3.bucket(), s3.bucket()

    audited(tmp_path, f"s3://{pages}", checkpoint_store=f"s3://{behind}/gx")

    assert {key.rsplit(".", 1)[-1] for key in s3.objects(behind)} == {"json"}
    assert {key.split("/")[1] for key in s3.objects(behind)} == {"results", "suites"}
    assert not any(key.endswith(".json") for key in s3.objects(pages))


def test_two_processes_at_once_lose_no_page_and_no_entry(tmp_path: Path, s3: servers.S3) -> None:
    bucket, pipe = s3.bucket(), subprocess.PIPE
    tables = ("hcp_profiles", "engagement_events", "patient_journeys")
    processes = [
        subprocess.Popen(  # noqa: S603 - our own interpreter and text
            [sys.executable, "-c", _AUDIT, str(tmp_path / table), f"s3://{bucket}", table],
            stdin=pipe,
            stdout=pipe,
            text=True,
        )
        for table in tables
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    pages = [process.communicate()[0].strip().removeprefix(f"{s3.url}/{bucket}/") for process in processes]

    objects = s3.objects(bucket)

    assert all(page in objects for page in pages), pages
    for page in pages:
        assert page.rpartition("/")[0].encode() in objects["index.html"]


def test_a_bucket_that_is_not_there_leaves_the_audit_and_says_so(
    tmp_path: Path, s3: servers.S3, caplog: pytest.LogCaptureFixture
) -> None:
    report = audited(tmp_path, "s3://nowhere")

    assert report.passed > 5
    assert report.data_docs == ""
    assert report.data_docs_problem == (
        "No data docs for hcp_profiles in s3://nowhere: the bucket does not exist. Create it, or correct "
        "GE_DATA_DOCS_S3_BUCKET (or great_expectations.data_docs_site and .checkpoint_store)."
    )
    assert [r.levelname for r in caplog.records if "data docs" in r.message] == ["WARNING"]
    shown = data_docs_metadata([report])
    assert shown == {"is_degraded": True, "data_docs_problem": report.data_docs_problem}


def test_a_server_that_is_down_is_left_alone_after_a_while(
    tmp_path: Path, s3: servers.S3, caplog: pytest.LogCaptureFixture
) -> None:
    from e2i_pipeline.resources import data_docs_s3

    bucket = s3.bucket()
    s3.stop()
    reports = [audited(tmp_path, f"s3://{bucket}") for _ in range(6)]

    assert all(r.passed > 5 and "did not answer" in r.data_docs_problem for r in reports)
    assert "(EndpointConnectionError)" in reports[0].data_docs_problem
    assert "(ToolUnavailable)" in reports[5].data_docs_problem
    assert data_docs_s3.circuit().state == "open"
    assert len([r for r in caplog.records if r.levelno == logging.WARNING and "No data docs" in r.message]) == 6


def test_without_boto3_one_message_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: servers.S3
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)

    report = audited(tmp_path, "s3://bucket")

    assert report.passed > 5
    assert report.data_docs_problem == (
        "No data docs for hcp_profiles in s3://bucket: boto3 is not installed. Install the extra aws: "
        "pip install 'e2i-pipeline[aws]'."
    )


def test_no_value_of_a_row_reaches_the_bucket(tmp_path: Path, s3: servers.S3) -> None:
    bucket = s3.bucket()
    columns = profiles() | {"specialty": ["CANARY-specialty"] * 6, "decile": [987654] * 6}
    gx = auditor(tmp_path, data_docs=f"s3://{bucket}")

    report = gx.validate(stage(tmp_path, "hcp_profiles", columns), "e2i_hcp_profiles", PARAMETERS)

    assert report.failed >= 2
    assert report.data_docs
    written = b"".join(content for key, content in s3.objects(bucket).items() if "static/" not in key)
    assert b"specialty" in written
    assert b"CANARY" not in written
    assert b"987654" not in written


def test_a_splits_page_is_found_under_its_path_and_under_its_address(tmp_path: Path, s3: servers.S3) -> None:
    bucket = s3.bucket()
    table = stage(tmp_path, "training_dataset", GOOD["training_dataset"][1]())
    local, remote = (
        auditor(tmp_path, data_docs=site).validate(table, GOOD["training_dataset"][0], PARAMETERS, split_filter="train")
        for site in (str(tmp_path / "docs"), f"s3://{bucket}")
    )

    assert "[train]" in local.data_docs
    assert Path(local.data_docs).is_file()
    path = unquote(remote.data_docs).removeprefix(f"{s3.url}/{bucket}/")
    assert "[train]" in path
    assert path in s3.objects(bucket)


def test_a_local_page_is_a_path(tmp_path: Path) -> None:
    report = audited(tmp_path, str(tmp_path / "docs"), checkpoint_store=str(tmp_path / "behind"))

    assert Path(report.data_docs).is_file()
    assert data_docs_metadata([report])["data_docs"].path == report.data_docs
    assert {path.name for path in (tmp_path / "behind").iterdir()} == {"results", "suites"}
