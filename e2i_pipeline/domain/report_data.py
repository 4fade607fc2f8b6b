"""What the model card and the run's report are made of: references and results as the stages leave them.

How they look belongs to `report`, `run_report` and their `report_*` siblings.
"""

from datetime import datetime
from typing import Any

from pydantic import Field

from e2i_pipeline.contracts.base import Contract
from e2i_pipeline.contracts.evaluation import EvaluationDetail, EvaluationRef
from e2i_pipeline.contracts.quality import ValidationReport, Verdict
from e2i_pipeline.contracts.references import (
    AttributionRef,
    BentoRef,
    DatasetRef,
    DeploymentRef,
    FeatureRegistryRef,
    OnlineFeaturesRef,
    PredictionsRef,
    TrainingDatasetRef,
)
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.contracts.training import ExperimentScope, TuningResult
from e2i_pipeline.domain.run_times import StepTime


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


class StageResults(Contract):
    """What the stages left behind for one brand. What is not there yet is left out of a page, and said to be missing.

    Attributes:
        source: Kind of the source, e.g. `synthetic`, `omop`, `synthea`.
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
        detail: What else the evaluation found: floors of the slices, recalibration, behaviour.
        narrative: The drivers in words, one sentence each.
        history_plot: PNG of the study's history, base64; empty where there is none.
        summary_plot: PNG of the SHAP summary, base64; empty where there is none.
        bento: The Bento, once it is packaged.
        promotion: The promotion decision, once it is made.
        places: What lies where: words to path or address.
        links: Those of the places that are pages to open: path to where a reader of this page finds it.
        home: The state folder; a place within it is shown without it.
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
    detail: EvaluationDetail = EvaluationDetail()
    narrative: tuple[str, ...] = ()
    history_plot: str = ""
    summary_plot: str = ""
    bento: BentoRef | None = None
    promotion: PromotionRef | None = None
    places: dict[str, str] = Field(default={})
    links: dict[str, str] = Field(default={})
    home: str = ""


class ModelCardData(StageResults):
    """Everything that one card shows.

    Attributes:
        example: A made-up request row, feature name to value; a feature without one gets a placeholder.
        limitations: Further limits to say, beside those that follow from the rest.
    """

    example: dict[str, Any] = Field(default={})
    limitations: tuple[str, ...] = ()


class CheckOutcome(Contract):
    """One asset check as a run evaluated it.

    Attributes:
        name: Name of the check.
        asset: Asset that it is about.
        is_passed: Whether it holds.
        is_warning: Whether a failure is only a warning.
        is_blocking: Whether a failure stops what is downstream.
    """

    name: str
    asset: str
    is_passed: bool
    is_warning: bool = False
    is_blocking: bool = False


class RunFacts(Contract):
    """What one run did.

    Attributes:
        run_id: Dagster run.
        started_at: When it began (UTC).
        written_at: When its report was written (UTC).
        made: Assets that the run materialized: whether each is new, or was found unchanged.
        elsewhere: Assets of the graph that were not part of the run.
        checks: The checks that it evaluated.
        steps: How long each step took, and its memory, in order of their start.
        are_steps_complete: Whether all times could be read.
    """

    run_id: str
    started_at: datetime
    written_at: datetime
    made: dict[str, bool] = Field(default={})
    elsewhere: tuple[str, ...] = ()
    checks: tuple[CheckOutcome, ...] = ()
    steps: tuple[StepTime, ...] = ()
    are_steps_complete: bool = True

    @property
    def seconds(self) -> float:
        """From the run's start until its report was written."""
        return max((self.written_at - self.started_at).total_seconds(), 0.0)

    @property
    def peak_mib(self) -> float | None:
        """The highest peak of memory in MiB; None where none was recorded."""
        return max((step.peak_mib for step in self.steps if step.peak_mib is not None), default=None)


class GoldenAnswer(Contract):
    """What the Bento answered to its golden request, in a process of its own.

    Attributes:
        expected: Score per made-up row, as the model itself gives it: a probability, or a value.
        largest_difference: Of a score, between the Bento and the model; None where it is not known any more.
        start_seconds: Until the Bento was up.
        latency_ms: Of one request with all rows, once warm.
    """

    expected: tuple[float, ...] = ()
    largest_difference: float | None = None
    start_seconds: float | None = None
    latency_ms: float | None = None


class ScoreTenth(Contract):
    """A tenth of the scored journeys, by score.

    Attributes:
        rows: Journeys.
        mean: Their mean probability, 0..1.
    """

    rows: int
    mean: float


class Scores(Contract):
    """Batch predictions in sum.

    Attributes:
        rows: Journeys scored.
        flagged: Journeys at or above the threshold; None where there are too few to say.
        mean: Mean probability, 0..1, or mean value; None where there are too few to say.
        tenths: The journeys in ten groups of equal size, highest scores first; empty where a group would be too small
            to be shown.
        is_regression: Whether the scores are expected outcomes: nobody is flagged, and no tenths are made.
    """

    rows: int
    is_regression: bool = False
    flagged: int | None = None
    mean: float | None = None
    tenths: tuple[ScoreTenth, ...] = ()


class RunReportData(StageResults):
    """Everything that the report of one run shows.

    Attributes:
        run: What the run did.
        online: The online store.
        deployment: What is deployed.
        predictions: The scored journeys.
        golden: The Bento's answer to its golden request.
        scores: The predictions in sum; None where nothing was scored.
        card: Path of the model card.
        commands: What to do next: words to command.
    """

    run: RunFacts
    online: OnlineFeaturesRef
    deployment: DeploymentRef
    predictions: PredictionsRef
    golden: GoldenAnswer = GoldenAnswer()
    scores: Scores | None = None
    card: str
    commands: dict[str, str] = Field(default={})
