"""What the model card is made of: references and results as the stages leave them, gathered in one value.

How they look belongs to `report` and its `report_*` siblings.
"""

from typing import Any

from pydantic import Field

from e2i_pipeline.contracts.base import Contract
from e2i_pipeline.contracts.quality import ValidationReport, Verdict
from e2i_pipeline.contracts.references import (
    AttributionRef,
    BentoRef,
    DatasetRef,
    EvaluationRef,
    ExperimentScope,
    FeatureRegistryRef,
    ModelVersion,
    PromotionRef,
    TrainingDatasetRef,
    TuningResult,
)


class SliceTable(Contract):
    """Metrics per value of one column, as `metrics.evaluate_slices` gives them.

    Attributes:
        metrics: Value to metrics, the largest slice first.
        suppressed: Values left out because they have too few rows.
        suppressed_rows: Rows of these; None where even their sum is too small to be said.
    """

    metrics: dict[str, dict[str, float | None]]
    suppressed: int = 0
    suppressed_rows: int | None = None


class ModelCardData(Contract):
    """Everything that one card shows. What is not there yet is left out of the page, and said to be missing.

    Attributes:
        source: Kind of the source, e.g. `synthetic`, `omop`.
        dataset: The published dataset, with the defects met on the way in.
        registry: The feature registry, with the features left out.
        training: The modelling rows.
        scope: What is predicted, and the success criteria.
        study: The hyperparameter study.
        evaluation: Metrics per split.
        version: The registered version.
        attribution: SHAP importances.
        reports: Audits by the suites, of source tables and of the modelling rows.
        verdicts: The gates' verdicts.
        curves: `roc`, `pr`, `lift` and `calibration` of the test split, as `metrics.curves` gives them.
        slices: Column to metrics per value, on the test split.
        narrative: The drivers in words, one sentence each.
        summary_plot: PNG of the SHAP summary, base64; empty where there is none.
        bento: The Bento, once it is packaged.
        example: A made-up request row, feature name to value; a feature without one gets a placeholder.
        promotion: The promotion decision, once it is made.
        places: What lies where: words to path or address.
        limitations: Further limits to say, beside those that follow from the rest.
    """

    source: str
    dataset: DatasetRef
    registry: FeatureRegistryRef
    training: TrainingDatasetRef
    scope: ExperimentScope
    study: TuningResult
    evaluation: EvaluationRef
    version: ModelVersion
    attribution: AttributionRef
    reports: tuple[ValidationReport, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    curves: dict[str, dict[str, list[float]]] = Field(default={})
    slices: dict[str, SliceTable] = Field(default={})
    narrative: tuple[str, ...] = ()
    summary_plot: str = ""
    bento: BentoRef | None = None
    example: dict[str, Any] = Field(default={})
    promotion: PromotionRef | None = None
    places: dict[str, str] = Field(default={})
    limitations: tuple[str, ...] = ()
