"""A real Bento: built once, served once in a process of its own, asked, and held against the model itself."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil
import pytest

from e2i_pipeline.contracts.references import BentoRef
from e2i_pipeline.domain.algorithms import dump_model
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.bentoml import BentoResource, GoldenRequest, _golden_request
from e2i_pipeline.serving import client
from e2i_pipeline.serving.local_server import clean_environment, serving
from e2i_pipeline.serving.scoring import rows_of
from e2i_pipeline_tests.serving.small_model import FEATURES, ROW, VERSION, journeys, small_model

PERSON = "JaneDoe123"
OPEN_FORMATS = {".json", ".yaml", ".yml", ".ubj", ".skops", ".py", ".md", ".txt", ".in", ".sh", ""}


class Served(NamedTuple):
    """A Bento that answers at `url`."""

    resource: BentoResource
    ref: BentoRef
    url: str


def resource(folder: Path) -> BentoResource:
    return BentoResource(
        home=str(folder / "bentoml"),
        service="e2i-prediction-service",
        timeout=30,
        max_batch_size=100,
        max_latency_ms=100,
        state_dir=str(folder),
    )


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[BentoResource, BentoRef]:
    bentoml = resource(tmp_path_factory.mktemp("state"))
    frame, _ = journeys(20, seed=8)
    frame.loc[3, "disease_severity"] = 11.0
    return bentoml, bentoml.package_model(dump_model(small_model()), VERSION, frame)


@pytest.fixture(scope="module")
def served(packaged: tuple[BentoResource, BentoRef]) -> Iterator[Served]:
    bentoml, ref = packaged
    with bentoml.serve(ref.tag) as url:
        yield Served(bentoml, ref, url)


def test_packaging_again_finds_the_bento_and_changes_nothing(packaged: tuple[BentoResource, BentoRef]) -> None:
    bentoml, ref = packaged
    manifest = Path(ref.location) / "bento.yaml"
    built_at = manifest.stat().st_mtime_ns
    frame, _ = journeys(20, seed=8)
    assert bentoml.package_model(dump_model(small_model()), VERSION, frame) == ref
    assert manifest.stat().st_mtime_ns == built_at
    assert ref.tag.startswith("e2i-kisqali-conversion:1-")
    assert ref.tag.endswith(ref.key)


def test_the_tag_follows_the_model_and_the_settings(packaged: tuple[BentoResource, BentoRef]) -> None:
    bentoml, ref = packaged
    frame, _ = journeys(20, seed=8)
    args = (small_model(), dump_model(small_model()), VERSION, frame)
    slower = bentoml.model_copy(update={"max_latency_ms": 2000})
    other = small_model(seed=2)
    assert bentoml._settings(*args).bento_tag == ref.tag
    assert slower._settings(*args).bento_tag != ref.tag
    assert bentoml._settings(other, dump_model(other), VERSION, frame).bento_tag != ref.tag


def test_store_and_bento_hold_open_formats_only(packaged: tuple[BentoResource, BentoRef]) -> None:
    bentoml, ref = packaged
    stored = Path(bentoml.home) / "models" / ref.model_tag.replace(":", "/")
    names = {p.name for p in (stored / "files").iterdir()}
    assert names == {"model.json", "booster.ubj", "preprocessing.skops"}
    files = [p for folder in (Path(ref.location), stored) for p in folder.rglob("*") if p.is_file()]
    assert {p.suffix for p in files} <= OPEN_FORMATS
    for path in files:
        assert not path.read_bytes().startswith((b"\x80\x03", b"\x80\x04", b"\x80\x05"))


def test_the_bento_asks_for_pinned_packages_and_no_index(packaged: tuple[BentoResource, BentoRef]) -> None:
    wanted = (Path(packaged[1].location) / "env/python/requirements.txt").read_text(encoding="utf-8")
    assert "scikit-learn==" in wanted
    assert "bentoml==" in wanted
    assert "http" not in wanted


def test_rows_outside_their_range_are_left_out_of_the_golden_request_and_counted() -> None:
    frame, _ = journeys(20, seed=8)
    frame.loc[3, "disease_severity"] = 11.0
    golden = _golden_request(small_model(), frame)
    assert (len(golden.rows), golden.left_out) == (19, 1)
    np.testing.assert_array_equal(golden.scores, small_model().predict(frame.drop(index=3)))
    with pytest.raises(ToolRejected, match="None of the 1 rows"):
        _golden_request(small_model(), frame.loc[[3]])


def test_the_golden_request_is_for_the_owners_eyes(packaged: tuple[BentoResource, BentoRef]) -> None:
    path = Path(packaged[1].golden_request)
    assert path.stat().st_mode & 0o077 == 0
    assert GoldenRequest.model_validate_json(path.read_bytes()).rows


def test_the_bento_answers_as_the_model_does(served: Served) -> None:
    answer = served.resource.compare_golden_request(served.ref, served.url)
    assert answer["rows"] >= 19
    assert answer["largest_difference"] <= 1e-6
    assert answer["latency_ms"] > 0


def test_a_bento_with_another_model_is_refused_with_the_difference(served: Served, tmp_path: Path) -> None:
    golden = GoldenRequest.model_validate_json(Path(served.ref.golden_request).read_bytes())
    moved = (golden.scores[0] + 2e-6, *golden.scores[1:])
    other = tmp_path / "golden_request.json"
    other.write_text(golden.model_copy(update={"scores": moved}).model_dump_json(), encoding="utf-8")
    with pytest.raises(ToolRejected, match=r"differ from the model's own by up to 2e-06"):
        served.resource.compare_golden_request(served.ref.model_copy(update={"golden_request": str(other)}), served.url)


def test_predictions_name_the_model_and_flag(served: Served) -> None:
    (answer,) = served.resource.predict(served.url, [ROW])
    assert (answer.model_name, answer.model_version) == ("e2i-Kisqali-conversion", "1")
    assert answer.is_flagged == (answer.probability >= 0.5)
    assert answer.notes == []


def test_more_rows_than_a_batch_are_answered_in_order(served: Served) -> None:
    frame, _ = journeys(620, seed=3)
    answers = served.resource.predict(served.url, rows_of(frame, FEATURES))
    expected = small_model().predict(frame)
    np.testing.assert_allclose([a.probability for a in answers], expected, atol=1e-7)
    wire = client.predict_wire(served.url, [list(r.values()) for r in rows_of(frame, FEATURES)], timeout_s=30)
    np.testing.assert_allclose(wire.probabilities, expected, atol=1e-7)


def test_the_platforms_wire_format_is_answered(served: Served) -> None:
    body = {"input": [list(ROW.values()), [None, None, None, None]]}
    answer = httpx.post(f"{served.url}/predict_wire", json=body)
    assert answer.status_code == 200
    found = answer.json()
    assert set(found) == {"predictions", "probabilities"}
    named = [p.probability for p in served.resource.predict(served.url, [ROW, {}])]
    assert found["probabilities"] == named
    assert found["predictions"] == [int(p >= 0.5) for p in named]


def test_explanations_are_additive(served: Served) -> None:
    (told,) = httpx.post(f"{served.url}/explain", json={"rows": [ROW]}).json()
    assert told["margin"] == pytest.approx(told["base_value"] + sum(told["contributions"].values()))
    assert 1 / (1 + np.exp(-told["margin"])) == pytest.approx(told["probability"], abs=1e-5)


@pytest.mark.parametrize(
    ("route", "body", "said"),
    [
        ("predict", {"rows": [{**ROW, "disease_severity": 1234567}]}, "less than or equal to 10"),
        ("predict", {"rows": [{**ROW, "disease_severity": PERSON}]}, "valid number"),
        ("predict", {"rows": [{**ROW, "patient_id": PERSON}]}, "patient_id"),
        ("predict", {"rows": []}, "at least 1 item"),
        ("predict", {}, "Field required"),
        ("predict", [ROW], "should be an object"),
        ("predict", {"rows": [ROW] * 101}, "at most 100 items"),
        ("explain", {"rows": [ROW] * 101}, "at most 100 items"),
        ("predict_wire", {"input": [[3.5, PERSON]]}, "the model takes 4, in this order: disease_severity"),
        ("predict_wire", {"input": [[PERSON, "south", True, 3]]}, "disease_severity"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong_and_not_what_it_said(
    served: Served, route: str, body: Any, said: str
) -> None:
    answer = httpx.post(f"{served.url}/{route}", json=body)
    assert answer.status_code == 400
    assert said in answer.text
    assert PERSON not in answer.text
    assert "1234567" not in answer.text


def test_what_is_no_json_is_refused_and_pickles_are_not_read(served: Served) -> None:
    assert httpx.post(f"{served.url}/predict", content=f"{{{PERSON}").status_code == 400
    kind = {"Content-Type": "application/vnd.bentoml+pickle"}
    assert httpx.post(f"{served.url}/predict", content=b"x", headers=kind).status_code == 415


def test_health_metrics_and_description_are_there(served: Served) -> None:
    for route in ("/livez", "/readyz", "/metrics", "/docs.json"):
        assert httpx.get(f"{served.url}{route}").status_code == 200
    described = httpx.get(f"{served.url}/docs.json").json()
    assert {"/predict", "/predict_wire", "/explain"} <= set(described["paths"])


def test_nothing_that_was_sent_is_in_the_log(served: Served) -> None:
    httpx.post(f"{served.url}/predict", json={"rows": [{**ROW, "geographic_region": PERSON}]})
    httpx.post(f"{served.url}/predict", json={"rows": [{**ROW, "disease_severity": PERSON}]})
    log = (Path(served.ref.golden_request).parent / "serve.log").read_text(encoding="utf-8")
    assert "initialized" in log
    assert PERSON not in log
    assert "1234567" not in log


def test_a_server_that_ends_by_itself_is_told_with_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(ToolRejected, match=r"does not start[\s\S]*no-such-bento"),
        serving("no-such-bento:1", str(tmp_path), tmp_path / "serve.log"),
    ):
        pytest.fail("a Bento that does not exist was ready")


@pytest.mark.slow
def test_a_bento_that_cannot_load_its_model_is_refused_soon_and_leaves_no_process(
    packaged: tuple[BentoResource, BentoRef], tmp_path: Path
) -> None:
    bentoml, ref = packaged
    home = tmp_path / "bentoml"
    for store, tag in (("bentos", ref.tag), ("models", ref.model_tag)):
        source = Path(bentoml.home) / store / tag.replace(":", "/")
        target = home / store / tag.replace(":", "/")
        for path in source.rglob("*"):
            if path.is_file():
                (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
                (target / path.relative_to(source)).write_bytes(path.read_bytes())
    booster = home / "models" / ref.model_tag.replace(":", "/") / "files/booster.ubj"
    booster.write_bytes(booster.read_bytes()[:100])
    with (
        pytest.raises(ToolRejected, match="does not start") as refused,
        serving(ref.tag, str(home), tmp_path / "serve.log"),
    ):
        pytest.fail("a service without its model was ready")
    assert "booster.ubj was not loaded" in str(refused.value)
    assert not [p for p in psutil.Process().children(recursive=True) if str(home) in str(p.environ())]


def test_a_bento_that_is_not_in_the_store_is_neither_served_nor_deployed(tmp_path: Path) -> None:
    bentoml = resource(tmp_path)
    ref = BentoRef(
        key="k",
        brand="Kisqali",
        tag="e2i-kisqali-conversion:9-k",
        model_tag="e2i-kisqali-conversion:9-k",
        location="",
        golden_request=str(tmp_path / "golden_request.json"),
        model_name="e2i-Kisqali-conversion",
        model_version="9",
    )
    assert not bentoml.has(ref.tag)
    with pytest.raises(ToolRejected, match="has no Bento"):
        bentoml.answers_golden_request(ref)
    with pytest.raises(ToolRejected, match="nothing was changed"):
        bentoml.deploy(ref)
    assert bentoml.current_deployment("Kisqali").bento_tag is None


def test_a_golden_request_that_is_gone_is_said_to_be(served: Served, tmp_path: Path) -> None:
    gone = served.ref.model_copy(update={"golden_request": str(tmp_path / "gone.json")})
    with pytest.raises(ToolRejected, match="Materialize `bento`"):
        served.resource.compare_golden_request(gone, served.url)


def test_a_build_that_fails_quotes_its_log(tmp_path: Path) -> None:
    (tmp_path / "bentoml").write_text("a file where the home should be", encoding="utf-8")
    bentoml = resource(tmp_path)
    frame, _ = journeys(3)
    with pytest.raises(ToolRejected, match=r"did not build[\s\S]*NotADirectoryError"):
        bentoml.package_model(dump_model(small_model()), VERSION, frame)


def test_deploying_writes_what_is_served_keeps_what_was_and_is_repeatable(
    packaged: tuple[BentoResource, BentoRef],
) -> None:
    bentoml, ref = packaged
    older = Path(bentoml.state_dir) / "deployment" / "Kisqali.json"
    older.parent.mkdir(exist_ok=True)
    before = {"brand": "Kisqali", "bento_tag": "older:1", "bentoml_home": bentoml.home, "endpoint": ""}
    older.write_text(json.dumps({**before, "previous": {"bento_tag": "oldest:1"}}))
    deployed = bentoml.deploy(ref)
    written = json.loads(Path(deployed.location).read_text(encoding="utf-8"))
    assert (deployed.bento_tag, deployed.status, deployed.endpoint) == (ref.tag, "active", "http://127.0.0.1:3000")
    assert written["previous"] == before
    assert bentoml.deploy(ref) == deployed == bentoml.current_deployment("Kisqali")
    assert json.loads(Path(deployed.location).read_text(encoding="utf-8")) == written


def test_the_bento_of_an_older_version_is_found_in_the_store(tmp_path: Path) -> None:
    bentoml = resource(tmp_path)
    name = "e2i-kisqali-conversion"
    for number, key in enumerate(("1-old", "1-new", "2-other", "1-half")):
        for store, manifest in (("bentos", "bento.yaml"), ("models", "model.yaml")):
            folder = tmp_path / "bentoml" / store / name / key
            folder.mkdir(parents=True)
            if key != "1-half":
                (folder / manifest).write_text("")
                os.utime(folder / manifest, (number, number))

    found = bentoml.built_for(VERSION)

    assert (found.tag, found.brand, found.model_version) == (f"{name}:1-new", "Kisqali", "1")
    assert bentoml.deploy(found.model_copy(update={"tag": f"{name}:1-old"})).bento_tag == f"{name}:1-old"
    assert bentoml.built_for(VERSION).tag == f"{name}:1-old", "what is deployed stays"


def test_a_champion_without_a_bento_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(ToolRejected, match=r"conversion version 1 has no whole Bento .* Restore"):
        resource(tmp_path).built_for(VERSION)


def test_a_child_process_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPIK_API_KEY", PERSON)
    monkeypatch.setenv("E2I_METADATA_URL", f"postgresql://user:{PERSON}@host/db")
    environment = clean_environment("/home/of/bentoml")
    assert PERSON not in str(environment)
    assert environment["BENTOML_DO_NOT_TRACK"] == "True"
    assert environment["BENTOML_HOME"] == "/home/of/bentoml"
