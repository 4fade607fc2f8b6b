"""Rows go in and come out as the model itself sees them."""

from typing import Any

import numpy as np
import pytest

from e2i_pipeline.domain.attribution import reference_point
from e2i_pipeline.resources.stages.deployment import _score_columns
from e2i_pipeline.serving.schema import row_model
from e2i_pipeline.serving.scoring import Scorer, frame_of, rows_of
from e2i_pipeline.serving.settings import ServingSettings
from e2i_pipeline_tests.serving.small_model import FEATURES, ROW, VERSION, journeys, small_model


def scorer(algorithm: str = "xgboost", **changes: Any) -> Scorer:
    model = small_model(algorithm)
    settings = ServingSettings(
        service="e2i-prediction-service",
        bento_tag="e2i-kisqali-conversion:1-a",
        model_tag="e2i-kisqali-conversion:1-a",
        model_name=VERSION.name,
        model_version=VERSION.version,
        brand=VERSION.brand,
        timeout=30,
        max_batch_size=100,
        max_latency_ms=100,
        manifest=model.manifest.model_copy(update=changes),
        reference=reference_point(model, journeys()[0]) if algorithm != "xgboost" else (),
    )
    return Scorer(model, settings)


def rows(*sent: dict[str, Any]) -> list[Any]:
    schema = row_model(small_model().manifest)
    return [schema.model_validate(row) for row in sent]


@pytest.mark.parametrize("algorithm", ["xgboost", "logistic_regression"])
def test_a_frame_survives_the_way_through_rows_and_is_scored_the_same(algorithm: str) -> None:
    frame, _ = journeys(60, seed=8)
    sent = rows(*rows_of(frame, FEATURES))
    expected = small_model(algorithm).predict(frame)
    assert [p.probability for p in scorer(algorithm).predict(sent)] == expected.tolist()
    assert scorer(algorithm).predict_wire(sent).probabilities == expected.tolist()
    back = frame_of([row.model_dump() for row in sent], FEATURES)
    assert back.dtypes.to_dict() == frame.dtypes.to_dict()
    assert back.equals(frame)


def test_a_row_is_flagged_from_the_threshold_on() -> None:
    (one,) = scorer().predict(rows(ROW))
    (at,) = scorer(threshold=one.probability).predict(rows(ROW))
    (above,) = scorer(threshold=float(np.nextafter(one.probability, 1))).predict(rows(ROW))
    (none,) = scorer(threshold=None).predict(rows(ROW))
    assert (at.is_flagged, above.is_flagged, none.is_flagged) == (True, False, None)
    assert (one.model_name, one.model_version) == ("e2i-Kisqali-conversion", "1")


def test_labels_of_the_wire_format_follow_the_threshold_too() -> None:
    sent = rows(ROW, {**ROW, "disease_severity": 10})
    low, high = scorer().predict_wire(sent).probabilities
    assert scorer(threshold=(low + high) / 2).predict_wire(sent).predictions == [0, 1]
    assert scorer(threshold=None).predict_wire(sent).predictions == [int(low >= 0.5), int(high >= 0.5)]


@pytest.mark.parametrize(("threshold", "flagged", "label"), [(0.0, True, 0.0), (None, None, 0.5)])
def test_a_threshold_of_zero_flags_everybody_everywhere_and_none_nobody(
    threshold: float | None, flagged: bool | None, label: float
) -> None:
    manifest = small_model().manifest.model_copy(update={"threshold": threshold})
    (served,) = scorer(threshold=threshold).predict(rows(ROW))
    assert served.is_flagged is flagged
    assert _score_columns(np.array([0.0, 0.7]), manifest)["is_flagged"].to_pylist() == [flagged, flagged]
    assert manifest.label_threshold == label


def test_an_unseen_category_is_scored_like_a_missing_one_and_said_without_its_value() -> None:
    unseen, missing, known = scorer().predict(
        rows({**ROW, "geographic_region": "Atlantis"}, {**ROW, "geographic_region": None}, ROW)
    )
    assert unseen.probability == missing.probability != known.probability
    assert unseen.notes == ["geographic_region: not a category seen in training; scored like an unseen one"]
    assert missing.notes == known.notes == []


@pytest.mark.parametrize("algorithm", ["xgboost", "logistic_regression"])
def test_an_explanation_sums_to_the_score(algorithm: str) -> None:
    sent = rows(ROW, {})
    told = scorer(algorithm).explain(sent)
    for one, prediction in zip(told, scorer(algorithm).predict(sent), strict=True):
        assert one.margin == pytest.approx(one.base_value + sum(one.contributions.values()))
        assert 1 / (1 + np.exp(-one.margin)) == pytest.approx(prediction.probability, abs=1e-5)
        assert set(one.contributions) == set(ROW)
        assert max(map(abs, one.contributions.values())) > 0
