"""The data of a run's report with every section filled. Tests only."""

from datetime import UTC, datetime, timedelta
from typing import Any

from e2i_pipeline.contracts.quality import Verdict, VerdictKey
from e2i_pipeline.contracts.references import DeploymentRef, OnlineFeaturesRef, PredictionsRef
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.domain.report_data import (
    CheckOutcome,
    GoldenAnswer,
    RunFacts,
    RunReportData,
    Scores,
    ScoreTenth,
)
from e2i_pipeline.domain.run_times import StepTime
from e2i_pipeline_tests.domain.card_example import BRAND, NOW, ONE_PIXEL, card_data

STARTED = datetime(2026, 7, 1, 2, 0, tzinfo=UTC)
CARD = "/state/cards/Kisqali/key/model_card.html"
TAG = "e2i-kisqali-conversion:7-" + "ab" * 16


def step(name: str, asset: str, stage: str, seconds: float, **changes: Any) -> StepTime:
    """A step that succeeded."""
    fields = {"peak_mib": 300.0, "raised_mib": 0.0, "started_at": STARTED, **changes}
    return StepTime(step=name, asset=asset, stage=stage, seconds=seconds, **fields)


def run_facts(**changes: Any) -> RunFacts:
    """A run that made some, found some unchanged, and had one warning."""
    base = {
        "run_id": "0394bbed-c94d-416c-b010-2a63e290f684",
        "started_at": STARTED,
        "written_at": STARTED + timedelta(seconds=200),
        "made": {"patient_journeys": True, "training_dataset": False, "bento": True, "batch_predictions": True},
        "elsewhere": ("hcp_features",),
        "checks": (
            CheckOutcome(name="training_dataset_has_no_leakage", asset="training_dataset", is_passed=True),
            CheckOutcome(
                name="probabilities_are_calibrated", asset="model_evaluation", is_passed=False, is_warning=True
            ),
        ),
        "steps": (
            step("patient_journeys", "patient_journeys", "source", 61.25, peak_mib=812.0, raised_mib=512.0),
            step("patient_journeys_audit", "patient_journeys", "source", 12.0, peak_mib=1536.0, raised_mib=724.0),
            step("training_dataset", "training_dataset", "features", 0.01),
            step("bento", "bento", "serving", 2.5, attempts=2),
        ),
    }
    return RunFacts.model_validate({**base, **changes})


def run_data(**changes: Any) -> RunReportData:
    """The example, with some of it replaced."""
    card = card_data()
    shared = {name: value for name, value in card if name in RunReportData.model_fields}
    champion = card.version.model_copy(update={"stage": "production"})
    answered = Verdict(
        key=VerdictKey(subject=f"bento/{BRAND}", data_version=TAG, suite_hash="golden_request", gate_hash="g"),
        gate="infrastructure",
        is_passed=True,
        decided_at=NOW,
    )
    base = {
        **shared,
        "verdicts": (*card.verdicts, answered),
        "version": champion,
        "promotion": card.promotion.model_copy(update={"is_promoted": True, "champion": champion}),  # type: ignore[union-attr]
        "history_plot": ONE_PIXEL,
        "home": "/state",
        "places": {"Model card": CARD, "Data docs": "/state/data_docs/index.html"},
        "links": {CARD: "../../cards/Kisqali/key/model_card.html"},
        "run": run_facts(),
        "online": OnlineFeaturesRef(
            key="o", until=NOW, rows={"patient_features": 60000, "hcp_features": 1200}, rows_per_second=2137.6
        ),
        "deployment": DeploymentRef(
            key="d",
            brand=BRAND,
            bento_tag=TAG,
            location="/state/deployment/Kisqali.json",
            endpoint="http://127.0.0.1:3000",
            status="active",
        ),
        "predictions": PredictionsRef(
            key="p",
            name="batch_predictions",
            location="/state/predictions/Kisqali/data.parquet",
            version="7" * 64,
            rows=1561,
            brand=BRAND,
            model_name="e2i-Kisqali-conversion",
            model_version="7",
        ),
        "golden": GoldenAnswer(expected=(0.07, 0.245), largest_difference=0.0, start_seconds=7.71, latency_ms=37.53),
        "scores": Scores(
            rows=1561,
            flagged=160,
            mean=0.297,
            tenths=tuple(ScoreTenth(rows=156, mean=(10 - at) / 12) for at in range(10)),
        ),
        "card": CARD,
        "commands": {"Start the deployed model": "make serve BRAND=Kisqali"},
    }
    return RunReportData.model_validate({**base, **changes})


def other_champion() -> ModelVersion:
    """The version that served before."""
    return card_data().version.model_copy(update={"version": "6", "stage": "production"})
