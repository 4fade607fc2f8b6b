"""A model card's data with every section filled, some of it hostile, some of it missing."""

import base64
import functools
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd

from e2i_pipeline.contracts.evaluation import Comparison, EvaluationDetail, EvaluationRef, Recalibrated, TestReadings
from e2i_pipeline.contracts.evaluation_rules import EvaluationRules
from e2i_pipeline.contracts.quality import ExpectationOutcome, ValidationReport, Verdict, VerdictKey
from e2i_pipeline.contracts.references import (
    AttributionRef,
    BentoRef,
    DatasetRef,
    DefectCount,
    FeatureRegistryRef,
    FeatureSpec,
    SplitCuts,
    TableRef,
    TrainingDatasetRef,
)
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.contracts.training import ExperimentScope, TuningResult
from e2i_pipeline.domain import metrics
from e2i_pipeline.domain.comparison import compare
from e2i_pipeline.domain.evaluation_gate import readings_finding
from e2i_pipeline.domain.judgement import Judgement, Terms, TestRows, judge_classification
from e2i_pipeline.domain.report_data import ModelCardData, SliceTable

BRAND, KEY = "Kisqali", "5f0c" * 8
NOW = datetime(2026, 6, 30, 12, 0, tzinfo=UTC)

ONE_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

FEATURES = (
    FeatureSpec(
        name="disease_severity", kind="numeric", view="patient_features", description="0 to 10", low=0, high=10
    ),
    FeatureSpec(name="days_since_diagnosis", kind="numeric", view="patient_features", description="Days.", low=0),
    FeatureSpec(name="geographic_region", kind="categorical", view="patient_features", description="Region of the US."),
    FeatureSpec(
        name="academic_hcp", kind="boolean", view="patient_features", description="Treated at an academic site."
    ),
    FeatureSpec(name="recent_touches", kind="numeric", view="engagement_features", description="In 90 days.", high=400),
)


SCOPE = ExperimentScope(
    key="s",
    brand=BRAND,
    target="treatment_initiated",
    problem_type="classification",
    population="Each patient's first Kisqali journey with a mature outcome",
    observation_window_days=None,
    prediction_horizon_days=180,
    minimum_auc=0.6,
    minimum_precision_at_k=1.2,
    maximum_fpr=0.2,
    capacity=0.1,
)

READINGS = TestReadings(candidates=11, readings=12, maximum=10)


def outcomes(rows: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes, scores and regions of made-up test journeys."""
    random = np.random.default_rng(3)
    score = random.beta(2, 6, rows)
    outcome = (random.random(rows) < score).astype(int)
    return outcome, score, random.choice(["south", "west", "midwest", "northeast"], rows, p=[0.5, 0.3, 0.19, 0.01])


@functools.cache
def judgement() -> Judgement:
    """What the made-up test journeys say of the made-up model."""
    outcome, score, region = outcomes()
    rows = TestRows(pd.DataFrame({"score": score}), outcome, pd.DataFrame({"geographic_region": region}))
    rules = EvaluationRules.model_validate({"bootstrap": {"resamples": 200}})
    threshold = metrics.threshold_for(score, 0.1)
    return judge_classification(
        lambda frame: frame["score"].to_numpy(), rows, score, score**1.5, threshold, Terms(SCOPE, rules, 0.05, 1)
    )


def _comparison() -> Comparison:
    outcome, score, _ = outcomes()
    found = compare("classification", "6", outcome, score, np.sqrt(np.random.default_rng(4).permutation(score)), 0.95)
    assert found is not None
    return found


def card_data(**changes: Any) -> ModelCardData:
    """The example, with some of it replaced."""
    (outcome, score, region), judged = outcomes(), judgement()
    found = metrics.evaluate(outcome, score, 0.1)
    by_region = metrics.evaluate_slices(outcome, score, region, 0.1, found["threshold"])
    base = {
        "source": "omop",
        "dataset": _dataset(),
        "registry": FeatureRegistryRef(
            key="r",
            project="e2i_features",
            service="training",
            features=FEATURES,
            tables={},
            left_out={
                "call_frequency": "hcp_profiles is declared absent",
                "specialty": "hcp_profiles is declared absent",
            },
            definitions="/state/feast/definitions.json",
        ),
        "training": TrainingDatasetRef(
            key="t",
            name="training_dataset",
            location="/state/training/Kisqali/data.parquet",
            version="9c1d" * 16,
            rows=15000,
            brand=BRAND,
            dataset_key="d",
            features=FEATURES,
            split_counts={"train": 9000, "validation": 3000, "test": 3000, "holdout": 700, "unassigned": 812},
            positives={"train": 2250, "validation": 741, "test": int(outcome.sum()), "holdout": 170},
            label_overlap=1204,
        ),
        "scope": SCOPE,
        "study": TuningResult(
            key=KEY,
            brand=BRAND,
            study=f"e2i-{BRAND}-{KEY}",
            mlflow_run_id="0a" * 16,
            mlflow_experiment_id="1",
            algorithm="xgboost",
            parameters={"n_estimators": 220, "max_depth": 4, "learning_rate": 0.0412345, "subsample": 0.8},
            metric="auc",
            best_value=0.7412,
            trials={"complete": 61, "pruned": 37, "failed": 2},
            seconds=212.4,
            is_reproducible=True,
        ),
        "evaluation": EvaluationRef(
            key=KEY,
            brand=BRAND,
            location="/state/evaluations/Kisqali/evaluation.json",
            version="e" * 64,
            metrics={"train": found, "validation": found, "test": found, "holdout": found},
            threshold=found["threshold"],
            is_passed=True,
            unmet=(),
            scope_key="s",
            intervals=judged.intervals,
            findings=(*judged.findings, readings_finding(READINGS)),
            fairness=judged.fairness,
            comparison=_comparison(),
            readings=READINGS,
        ),
        "version": ModelVersion(
            key=KEY,
            brand=BRAND,
            name="e2i-Kisqali-conversion",
            version="7",
            mlflow_run_id="0a" * 16,
            model_uri="models:/e2i-Kisqali-conversion/7",
            stage="development",
        ),
        "attribution": AttributionRef(
            key="a",
            brand=BRAND,
            location="/state/attributions/values.parquet",
            version="f" * 64,
            plot="/state/attributions/summary.png",
            importance=dict(zip((f.name for f in FEATURES), (0.48, 0.22, 0.15, 0.1, 0.05), strict=True)),
            base_value=-1.203,
            rows=1000,
            method="exact path-dependent tree SHAP",
        ),
        "reports": _reports(),
        "verdicts": _verdicts(),
        "curves": judged.curves,
        "detail": EvaluationDetail(
            floors=judged.floors,
            recalibration=Recalibrated(method="platt", rows=3000, reason="Platt helps on validation: it does."),
            behaviour=tuple(one.sentence for one in judged.behaviour),
        ),
        "slices": {"geographic_region": SliceTable(**by_region._asdict())},
        "narrative": ("disease_severity carries 48% of the model's movement: higher values go with higher scores.",),
        "summary_plot": ONE_PIXEL,
        "bento": BentoRef(
            key="b",
            brand=BRAND,
            tag="e2i-kisqali-conversion:7-" + "ab" * 16,
            model_tag="e2i-kisqali-conversion:7-" + "ab" * 16,
            location="/state/bentoml/bentos/e2i-kisqali-conversion",
            golden_request="/state/golden.json",
            model_name="e2i-Kisqali-conversion",
            model_version="7",
        ),
        "promotion": PromotionRef(
            key="p", brand=BRAND, is_promoted=False, reason="Version 6 is as good.", champion=None
        ),
        "places": {"Data docs": "/state/data_docs/index.html"},
    }
    return ModelCardData.model_validate({**base, **changes})


def summary_plot(png: bytes) -> str:
    """A picture as the card takes it."""
    return base64.b64encode(png).decode()


def _dataset() -> DatasetRef:
    defects = (
        DefectCount(
            table="condition_occurrence",
            defect="end date before start date",
            rows=1204,
            of_rows=65332,
            treatment="kept: the end date is not used",
        ),
        DefectCount(
            table="drug_exposure", defect="concept id 0", rows=93, of_rows=67707, treatment="left out: no drug is known"
        ),
        DefectCount(
            table="person", defect="birth year only", rows=1000, of_rows=1000, treatment="corrected, 1 July assumed"
        ),
    )
    journeys = TableRef(key="j", name="patient_journeys", version="1" * 64, rows=20000, defects=defects)
    absent = TableRef(key="h", name="hcp_profiles", version="2" * 64, is_absent=True)
    return DatasetRef(
        key="d",
        tables={"patient_journeys": journeys, "hcp_profiles": absent},
        as_of=NOW,
        cuts=SplitCuts(
            version=1,
            train_end=date(2025, 3, 1),
            validation_end=date(2025, 8, 1),
            test_end=date(2025, 11, 1),
            gap_days=7,
        ),
        assignments=TableRef(key="x", name="assignments", version="3" * 64),
        split_counts={"train": 9000},
        manifest="/state/published/manifest.json",
    )


def _reports() -> tuple[ValidationReport, ...]:
    def outcome(name: str, severity: str, status: str, bad: int = 0) -> ExpectationOutcome:
        return ExpectationOutcome(
            name=name,
            expectation_type=f"expect_{name}",
            column="journey_start_date",
            severity=severity,
            status=status,
            tested_rows=20000 if status in ("passed", "failed") else 0,
            unexpected_rows=bad,
        )

    journeys = (
        outcome("column_values_to_not_be_null", "critical", "passed"),
        outcome("column_values_to_be_in_set", "warning", "failed", 113),
    )
    absent = (outcome("table_row_count_to_be_between", "critical", "skipped"),)
    return tuple(
        ValidationReport(
            table=table, data_version="1" * 64, suite=f"e2i_{table}", suite_hash="s", outcomes=outcomes, seconds=0.4
        )
        for table, outcomes in (("patient_journeys", journeys), ("hcp_profiles", absent))
    )


def _verdicts() -> tuple[Verdict, ...]:
    key = VerdictKey(subject="patient_journeys", data_version="1" * 64, suite_hash="s", gate_hash="g")
    warning = "expect_column_values_to_be_in_set on journey_status: 113 of 20,000 rows."
    return (Verdict(key=key, gate="data_quality", is_passed=True, warnings=(warning,), decided_at=NOW),)
