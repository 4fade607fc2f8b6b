"""Spans nest by themselves, all arrive, carry no data, and never harm the work; a server gets them once it answers."""

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.opik import OpikResource
from e2i_pipeline.resources.opik_spans import AGENTS, is_sampled, uuid7
from e2i_pipeline_tests import servers

opik_server = servers.opik_server

WAIT = 60.0


def tracer(folder: Path, **changes: Any) -> OpikResource:
    """A tracer on a database of its own under the folder."""
    metadata = MetadataResource(url=f"sqlite:///{folder}/metadata.db", lock_dir=str(folder / "locks"))
    fields: dict[str, Any] = {
        "enabled": True,
        "sample_rate": 1.0,
        "workspace": "e2i-team",
        "project_name": "e2i-causal-analytics",
        "include_inputs": True,
        "include_outputs": True,
        "max_output_length": 10_000,
        "metadata": metadata,
    }
    return OpikResource(**(fields | changes))


@pytest.fixture
def opik(tmp_path: Path) -> OpikResource:
    """A tracer without a server."""
    return tracer(tmp_path)


def recorded(opik: OpikResource, **equal: Any) -> list[dict[str, Any]]:
    assert opik.flush(WAIT)
    return sorted(opik.metadata.rows("ml_observability_spans", **equal), key=lambda row: row["started_at"])


class TestSpans:
    """What a span says."""

    def test_nested_spans_know_their_parents(self, opik: OpikResource) -> None:
        with opik.trace_agent("model_trainer", "train") as outer:
            with opik.trace_agent("model_selector", "search") as inner, opik.trace_llm_call("a-model") as call:
                pass
            with opik.trace_agent("feature_analyzer", "explain") as sibling:
                pass
        with opik.trace_agent("model_deployer", "deploy") as other:
            pass
        rows = {row["span_id"]: row for row in recorded(opik)}
        parents = {i: rows[i]["parent_span_id"] for i in rows}
        assert parents == {outer.id: None, inner.id: outer.id, call.id: inner.id, sibling.id: outer.id, other.id: None}
        assert {rows[s.id]["trace_id"] for s in (outer, inner, call, sibling)} == {outer.trace_id}
        assert other.trace_id != outer.trace_id
        assert rows[call.id]["agent_name"] == "model_selector"
        assert rows[outer.id]["started_at"] <= rows[inner.id]["started_at"] <= rows[outer.id]["ended_at"]
        assert {uuid.UUID(i).version for i in rows} == {7}

    def test_attributes_events_status_and_tokens_are_kept(self, opik: OpikResource) -> None:
        started = {"brand": "Kisqali", "mlflow_run_id": "m-1"}
        with opik.trace_agent("model_trainer", "train", metadata=started) as span:
            span.set_attribute("rows", 900)
            span.set_attribute("is_fallback_used", True)
            span.add_event("converged", {"round": 30})
            span.set_status("degraded")
            opik.log_metric("auc", 0.7)
            with opik.trace_llm_call("a-model", prompt_template="Explain {brand}") as call:
                call.log_tokens(10, 5)
        row, llm = recorded(opik)
        assert row["attributes"] == {"brand": "Kisqali", "rows": 900, "metrics": {"auc": 0.7}}
        assert (row["mlflow_run_id"], row["is_fallback_used"], row["status"]) == ("m-1", True, "degraded")
        assert [(e["name"], e["attributes"]) for e in row["events"]] == [("converged", {"round": 30})]
        assert (row["agent_tier"], row["kind"], row["error"]) == ("ml_foundation", "agent", None)
        assert (llm["kind"], llm["model"]) == ("llm", "a-model")
        assert llm["attributes"] == {"prompt_template": "Explain {brand}"}
        assert (llm["input_tokens"], llm["output_tokens"], llm["total_tokens"]) == (10, 5, 15)

    def test_exception_leaves_its_class_only_and_goes_on(self, opik: OpikResource, tmp_path: Path) -> None:
        with pytest.raises(KeyError, match="patient-4711"), opik.trace_agent("data_preparer", "validate"):
            raise KeyError("patient-4711")
        (row,) = recorded(opik)
        assert (row["status"], row["error"]) == ("error", "KeyError")
        assert b"patient-4711" not in b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())

    def test_trace_and_parent_may_be_given(self, opik: OpikResource) -> None:
        with opik.trace_agent("scope_definer", "define", trace_id="run-1") as first:
            pass
        with opik.trace_agent("model_trainer", "train", trace_id="run-1", parent=first.id):
            pass
        with opik.trace_agent("model_trainer", "train"), opik.trace_agent("model_trainer", "x", parent=first):
            pass
        with (
            opik.trace_agent("model_trainer", "train"),
            opik.trace_agent("model_trainer", "y", trace_id="run-2") as own,
        ):
            pass
        rows = recorded(opik, trace_id="run-1")
        assert [(r["operation"], r["parent_span_id"]) for r in rows] == [
            ("define", None),
            ("train", first.id),
            ("x", first.id),
        ]
        assert (own.trace_id, own.parent_id) == ("run-2", None)

    def test_agents_of_the_pipeline_have_the_foundation_tier(self, opik: OpikResource) -> None:
        for agent in [*sorted(AGENTS), "orchestrator"]:
            with opik.trace_agent(
                agent, "work", metadata={"agent_tier": "coordination"} if agent not in AGENTS else {}
            ):
                pass
        tiers = {row["agent_name"]: row["agent_tier"] for row in recorded(opik)}
        assert tiers == dict.fromkeys(AGENTS, "ml_foundation") | {"orchestrator": "coordination"}

    def test_decorated_functions_get_a_span_per_call(self, opik: OpikResource) -> None:
        @opik.trace_agent("model_trainer", "fit")
        def fit(depth: int) -> int:
            """Fits."""
            return depth + 1 if depth == 3 else fit(depth + 1)

        @opik.trace_agent("prediction_synthesizer", "predict")
        async def predict(number: int) -> int:
            await asyncio.sleep(0)
            return number

        async def predict_all() -> list[int]:
            async with opik.trace_agent("prediction_synthesizer", "batch"):
                return await asyncio.gather(*(predict(n) for n in range(5)))

        assert (fit(1), fit.__name__, fit.__doc__) == (4, "fit", "Fits.")
        assert asyncio.run(predict_all()) == [0, 1, 2, 3, 4]
        fits = recorded(opik, operation="fit")
        assert [r["parent_span_id"] for r in fits] == [None, fits[0]["span_id"], fits[1]["span_id"]]
        (batch,) = recorded(opik, operation="batch")
        assert [r["parent_span_id"] for r in recorded(opik, operation="predict")] == [batch["span_id"]] * 5

    def test_threads_do_not_mix_their_traces(self, opik: OpikResource) -> None:
        @opik.trace_agent("model_trainer", "trial")
        def trial(_: int) -> None:
            with opik.trace_agent("model_trainer", "fit"):
                pass

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(trial, range(20)))
        rows = {row["span_id"]: row for row in recorded(opik)}
        fits = [row for row in rows.values() if row["operation"] == "fit"]
        assert len({row["trace_id"] for row in fits}) == 20
        assert all(rows[f["parent_span_id"]]["trace_id"] == f["trace_id"] for f in fits)

    def test_feedback_reaches_a_trace_that_has_ended(self, opik: OpikResource) -> None:
        with opik.trace_agent("feature_analyzer", "explain") as span:
            pass
        opik.log_feedback(span.trace_id, 0.5, "helpfulness")
        opik.log_metric("latency_ms", 12.0, trace_id=span.trace_id)
        _, feedback, metric = recorded(opik)
        assert (feedback["kind"], feedback["operation"], feedback["attributes"]) == (
            "feedback",
            "helpfulness",
            {"value": 0.5},
        )
        assert (metric["kind"], metric["operation"], metric["trace_id"]) == ("metric", "latency_ms", span.trace_id)


class TestPrivacy:
    """What a span must not carry."""

    def test_inputs_and_outputs_are_kept_as_configured(self, tmp_path: Path) -> None:
        opik = tracer(tmp_path, include_inputs=False, include_outputs=False)
        with opik.trace_agent("model_trainer", "train") as span, opik.trace_llm_call("m", prompt_template="secret"):
            span.set_attribute("input", "secret")
            span.set_attribute("output", "secret")
            span.set_attribute("rows", 3)
        assert [row["attributes"] for row in recorded(opik)] == [{"rows": 3}, {}]

    def test_long_texts_and_structures_are_cut(self, tmp_path: Path) -> None:
        opik = tracer(tmp_path, max_output_length=10)
        with opik.trace_agent("model_trainer", "train") as span:
            span.set_attribute("output", "x" * 11)
            span.set_attribute("list", list(range(100)))
            span.set_attribute("short", [1, 2])
        (row,) = recorded(opik)
        assert row["attributes"] == {"output": "x" * 10, "list": "[0, 1, 2, ", "short": [1, 2]}

    def test_objects_leave_only_their_type(self, opik: OpikResource) -> None:
        import pandas as pd

        frame = pd.DataFrame({"patient_id": ["4711"]})
        with opik.trace_agent("model_trainer", "train") as span:
            span.set_attribute("data", frame)
            span.set_attribute("nested", {"frame": [frame, ValueError("4711")], "at": datetime(2026, 1, 1)})  # noqa: DTZ001
            span.add_event("seen", {"frame": frame})
        (row,) = recorded(opik)
        assert row["attributes"]["data"] == "<DataFrame>"
        assert row["attributes"]["nested"]["frame"] == ["<DataFrame>", "<ValueError>"]
        assert "4711" not in str(row)

    def test_key_is_neither_shown_nor_logged(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("A_KEY", "s3cret-key")
        opik = tracer(tmp_path, api_key=dg.EnvVar("A_KEY"), sample_rate=0.0)
        assert "s3cret-key" not in repr(tracer(tmp_path, api_key="s3cret-key"))

        @dg.asset
        def traced(opik: OpikResource) -> None:
            with opik.trace_agent("model_trainer", "train"):
                assert opik.api_key == "s3cret-key"

        home = tmp_path / "dagster"
        home.mkdir()
        with dg.instance_for_test(temp_dir=str(home)) as instance:
            assert dg.materialize([traced], resources={"opik": opik}, instance=instance).success
        assert b"s3cret-key" not in b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


class TestRecording:
    """All that is traced arrives, or waits where it can be seen."""

    def test_two_thousand_spans_are_all_there_after_a_flush(self, opik: OpikResource) -> None:
        ids = set()
        for number in range(2000):
            with opik.trace_agent("prediction_synthesizer", "predict") as span:
                span.set_attribute("number", number)
            ids.add(span.id)
        assert {row["span_id"] for row in recorded(opik)} == ids
        assert opik.status() == (False, 2000, 0, 0, 0)

    def test_a_trace_is_sampled_whole_and_alike_everywhere(self, tmp_path: Path) -> None:
        opik = tracer(tmp_path, sample_rate=0.5)
        for _ in range(200):
            with opik.trace_agent("model_trainer", "train"), opik.trace_agent("model_trainer", "fit"):
                pass
        rows = recorded(opik)
        traces = {row["trace_id"] for row in rows}
        assert len(rows) == 2 * len(traces)
        assert 60 < len(traces) < 140  # 200 fair coins: outside in 2 of 10^8 tries
        assert all(is_sampled(t, 0.5) for t in traces)
        assert [is_sampled(f"run-{n}", 0.5) for n in range(6)] == [False, True, False, True, True, True]
        assert not any(is_sampled(t, 0.0) for t in traces)
        assert all(is_sampled(f"run-{n}", 1.0) for n in range(100))

    def test_disabled_tracing_does_nothing(self, tmp_path: Path) -> None:
        opik = tracer(tmp_path, enabled=False)
        with opik.trace_agent("model_trainer", "train") as span:
            span.set_attribute("rows", 3)
        assert opik.flush()
        assert not opik.is_degraded
        assert list(tmp_path.iterdir()) == []

    def test_dagster_run_is_noted_and_its_end_flushes(self, opik: OpikResource) -> None:
        @dg.asset
        def traced(opik: OpikResource) -> None:
            with opik.trace_agent("data_preparer", "validate"):
                pass

        run = dg.materialize([traced], resources={"opik": opik})
        (row,) = opik.metadata.rows("ml_observability_spans")
        assert row["dagster_run_id"] == run.run_id

    def test_spans_of_a_forked_child_arrive_too(self, opik: OpikResource) -> None:
        with opik.trace_agent("model_trainer", "parent"):
            pass

        def child() -> None:
            with opik.trace_agent("model_trainer", "child"):
                pass
            os._exit(0 if opik.flush(WAIT) else 1)

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join(WAIT)
        assert process.exitcode == 0
        assert [row["operation"] for row in recorded(opik)] == ["parent", "child"]

    def test_unreachable_table_harms_no_work_and_gets_its_spans_later(self, tmp_path: Path) -> None:
        spool = str(tmp_path / "spool")
        nowhere = f"postgresql://e2i:pw@127.0.0.1:{servers.free_port()}/db"
        broken = tracer(
            tmp_path, spool_dir=spool, metadata=MetadataResource(url=nowhere, lock_dir=str(tmp_path / "locks"))
        )
        for _ in range(6):
            with broken.trace_agent("model_trainer", "train"):
                pass
            assert not broken.flush(WAIT)
        status = broken.status()
        assert (status.is_degraded, status.recorded, status.spooled) == (True, 0, 6)

        mended = tracer(tmp_path, spool_dir=spool)
        with mended.trace_agent("model_trainer", "after"):
            pass
        rows = recorded(mended)
        assert [row["operation"] for row in rows] == ["train"] * 6 + ["after"]
        assert mended.status() == (False, 7, 0, 0, 0)

    def test_row_that_is_refused_does_not_take_others_with_it(self, opik: OpikResource, tmp_path: Path) -> None:
        for operation in ("before", "\ud800 is half a character", "after"):
            with opik.trace_agent("model_trainer", operation):
                pass
        assert not opik.flush(WAIT)
        assert [r["operation"] for r in opik.metadata.rows("ml_observability_spans")] == ["before", "after"]
        assert opik.status() == (True, 2, 0, 1, 0)
        assert (tmp_path / "locks" / "spool" / "spans-refused.jsonl").read_text().count("\n") == 1


_WITHOUT_A_NETWORK = """
import atexit, json, sys

calls = []
sys.addaudithook(lambda event, args: calls.append(event) if event.startswith("socket.") else None)

@atexit.register  # registered first, so it runs after the tracer's own
def report() -> None:
    print(calls, "opik" in sys.modules)

from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.opik import OpikResource
calls.clear()
fields = json.loads(sys.argv[1])
opik = OpikResource(**fields | {"metadata": MetadataResource(**fields["metadata"])})
for _ in range(50):
    with opik.trace_agent("model_trainer", "train"):
        pass
"""


class TestWithoutServer:
    """With no server and no key there is no network."""

    def test_no_socket_is_touched_and_exit_loses_nothing(self, tmp_path: Path) -> None:
        fields = json.dumps(tracer(tmp_path).model_dump())
        command = [sys.executable, "-c", _WITHOUT_A_NETWORK, fields]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT)  # noqa: S603
        assert done.stdout == "[] False\n"
        assert len(recorded(tracer(tmp_path))) == 50
        assert {row["export_state"] for row in recorded(tracer(tmp_path))} == {"local"}


@pytest.fixture
def exporting(tmp_path: Path, opik_server: servers.OpikServer, monkeypatch: pytest.MonkeyPatch) -> OpikResource:
    """A tracer with a server; what its package reads from the environment is put back."""
    for name in ("OPIK_URL_OVERRIDE", "OPIK_SENTRY_ENABLE", "OPIK_ANALYTICS_ENABLE", "OPIK_DEFAULT_FLUSH_TIMEOUT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tracer(tmp_path, url=opik_server.url, api_key="a-key")


def states(opik: OpikResource) -> list[str]:
    return [row["export_state"] for row in recorded(opik)]


class TestExport:
    """A server gets each span, and a span counts as sent only when the server has said so."""

    def test_traces_spans_and_scores_arrive(self, exporting: OpikResource, opik_server: servers.OpikServer) -> None:
        with exporting.trace_agent("model_trainer", "train", metadata={"input": {"brand": "Kisqali"}}) as root:
            root.set_attribute("output", 0.7)
            with exporting.trace_llm_call("a-model") as call:
                call.log_tokens(10, 5)
        with pytest.raises(ValueError, match="4711"), exporting.trace_agent("model_trainer", "fail"):
            raise ValueError("4711")
        exporting.log_feedback(root.trace_id, 0.5, "helpfulness")
        assert states(exporting) == ["sent"] * 4
        assert exporting.status() == (False, 4, 0, 0, 4)

        spans = {s["id"]: s for s in opik_server.received("spans")}
        trace = next(t for t in opik_server.received("traces") if t["id"] == root.trace_id)
        assert trace["name"] == "model_trainer.train"
        assert (trace["input"], trace["output"]) == ({"brand": "Kisqali"}, {"value": 0.7})
        assert spans[call.id]["parent_span_id"] == root.id
        assert (spans[call.id]["type"], spans[call.id]["model"]) == ("llm", "a-model")
        assert spans[call.id]["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        errors = [s["error_info"] for s in spans.values() if s.get("error_info")]
        assert errors == [{"exception_type": "ValueError", "traceback": "not recorded"}]
        (score,) = opik_server.received("scores")
        assert (score["id"], score["name"], score["value"]) == (root.trace_id, "helpfulness", 0.5)
        assert "4711" not in str(opik_server.requests)
        method, path, headers, _ = opik_server.requests[0]
        assert (method, path) == ("POST", "/api/v1/private/traces/batch")
        assert (headers["Authorization"], headers["Comet-Workspace"]) == ("a-key", "e2i-team")
        assert os.environ["OPIK_SENTRY_ENABLE"] == os.environ["OPIK_ANALYTICS_ENABLE"] == "false"

    @pytest.mark.parametrize("status", [500, 401, 429, 302])
    def test_spans_wait_until_the_server_takes_them(
        self, exporting: OpikResource, opik_server: servers.OpikServer, status: int
    ) -> None:
        opik_server.status = status
        with exporting.trace_agent("model_trainer", "train"):
            pass
        assert states(exporting) == ["pending"]
        opik_server.status = 204
        with exporting.trace_agent("model_trainer", "train"):
            pass
        assert states(exporting) == ["sent", "sent"]
        assert len(opik_server.received("spans")) == 2
        assert not [path for _, path, *_ in opik_server.requests if path.endswith("elsewhere")]

    def test_server_that_keeps_failing_is_left_alone(
        self, exporting: OpikResource, opik_server: servers.OpikServer
    ) -> None:
        opik_server.status = 503
        for _ in range(8):
            with exporting.trace_agent("model_trainer", "train"):
                pass
            assert exporting.flush(WAIT), "the table has it"
        assert len(opik_server.requests) == 5
        assert exporting.is_degraded
        assert states(exporting) == ["pending"] * 8

    def test_server_that_never_answers_is_given_up_on(
        self, exporting: OpikResource, opik_server: servers.OpikServer
    ) -> None:
        opik_server.is_silent = True
        with exporting.trace_agent("model_trainer", "train"):
            pass
        assert states(exporting) == ["pending"]
        assert len(opik_server.requests) == 1

    def test_span_that_the_server_refuses_does_not_hold_up_others(
        self, exporting: OpikResource, opik_server: servers.OpikServer
    ) -> None:
        opik_server.status = 503
        for score in (1.0, float("nan"), 0.5):
            exporting.log_feedback(uuid7(datetime.now().astimezone()), score, "helpfulness")
        with exporting.trace_agent("model_trainer", "train", parent="not-an-id"):
            pass
        assert exporting.flush(WAIT)
        opik_server.status = 204
        assert states(exporting) == ["sent", "refused", "sent", "sent"]
        assert [s["value"] for s in opik_server.received("scores")] == [1.0, 0.5]

    def test_dagster_run_as_a_trace_gets_one_lasting_id(
        self, exporting: OpikResource, opik_server: servers.OpikServer
    ) -> None:
        run_id = str(uuid.uuid4())
        for _ in range(2):
            with exporting.trace_agent("model_trainer", "train", trace_id=run_id):
                pass
            assert exporting.flush(WAIT)
        rows = recorded(exporting, trace_id=run_id)
        assert [row["export_state"] for row in rows] == ["sent", "sent"]
        (trace_id,) = {s["trace_id"] for s in opik_server.received("spans")}
        assert {t["id"] for t in opik_server.received("traces")} == {trace_id}
        milliseconds = uuid.UUID(trace_id).int >> 80
        assert milliseconds == int(rows[0]["started_at"].timestamp() * 1000)

    def test_what_was_recorded_without_a_server_stays_local(
        self, tmp_path: Path, exporting: OpikResource, opik_server: servers.OpikServer
    ) -> None:
        alone = tracer(tmp_path)
        with alone.trace_agent("model_trainer", "alone"):
            pass
        assert alone.flush(WAIT)
        with exporting.trace_agent("model_trainer", "shared"):
            pass
        assert states(exporting) == ["local", "sent"]
        assert len(opik_server.received("spans")) == 1
