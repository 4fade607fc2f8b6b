"""What an evaluation says of a trained model: figures with intervals, findings of the gate, and the comparison."""

from pydantic import Field

from e2i_pipeline.contracts.base import Contract, Reference


class Interval(Contract):
    """A figure and its confidence interval; None where it is not defined."""

    estimate: float | None
    low: float | None
    high: float | None


class Finding(Contract):
    """The answer of one check of the evaluation gate.

    Attributes:
        check: Name of the check, which states the fact that holds.
        part: Part of the gate that it belongs to (`contracts.evaluation_rules.Gate`).
        is_passed: Whether it holds.
        is_blocking: Whether a model that fails it is kept from being promoted.
        observed: The figure that decided; None where there is none.
        sentences: What failed, or what was left out, one sentence each, with figures.
    """

    check: str
    part: str
    is_passed: bool
    is_blocking: bool
    observed: float | None = None
    sentences: tuple[str, ...] = ()


class Comparison(Contract):
    """Candidate against champion on the same rows.

    Attributes:
        champion: The champion's version number.
        metric: `auc` or `r2`; more is better.
        candidate_value: The candidate's.
        champion_value: The champion's.
        gain: Candidate minus champion, with its interval.
        p_value: Two-sided, of no difference.
        test: What was tested, in words.
        rows: Rows compared.
    """

    champion: str
    metric: str
    candidate_value: float
    champion_value: float
    gain: Interval
    p_value: float
    test: str
    rows: int


class GroupDifference(Contract):
    """How far two groups of one column lie apart: those that break the bound most clearly, else those furthest apart.

    Attributes:
        column: The protected column.
        measure: `equal_opportunity` (true-positive rate) or `demographic_parity` (share flagged).
        highest: The one of them with the higher rate.
        lowest: The other one.
        rates: Rate per group, 0..1; None where it would tell of too few persons (`domain/small_cells.py`).
        rows: Rows behind each rate; None likewise.
        difference: Highest minus lowest, with its interval; None where one of the two rates is.
        bound: The most that is allowed.
        held: Whether the bound holds by the figures themselves, told or not.
    """

    column: str
    measure: str
    highest: str
    lowest: str
    rates: dict[str, float | None]
    rows: dict[str, int | None]
    difference: Interval
    bound: float
    held: bool | None = None

    @property
    def is_within(self) -> bool:
        """Whether the bound holds: it is broken only when the whole interval lies beyond it."""
        if self.held is not None:
            return self.held
        return self.difference.low is None or self.difference.low <= self.bound


class SliceFloor(Contract):
    """The score of one slice against its floor.

    Attributes:
        column: Column of the slice.
        value: Its value.
        rows: Its rows.
        score: AUC, or the RMSE of a regression, with its interval, corrected for the number of slices.
        floor: The worst that is allowed: a minimum AUC, or a maximum RMSE.
        is_met: False only when the whole interval lies beyond the floor.
    """

    column: str
    value: str
    rows: int
    score: Interval
    floor: float
    is_met: bool


class Recalibrated(Contract):
    """What was decided about recalibration, on the validation split alone.

    Attributes:
        method: `none`, `platt` or `isotonic`.
        rows: Rows of the validation split.
        log_loss: Per method, out of fold, nats.
        ece: Expected calibration error per method, out of fold, 0..1.
        auc: Per method, out of fold.
        reason: Why, in a sentence.
    """

    method: str = "none"
    rows: int = 0
    log_loss: dict[str, float] = Field(default={})
    ece: dict[str, float] = Field(default={})
    auc: dict[str, float] = Field(default={})
    reason: str = ""


class TestReadings(Contract):
    """How often the test rows of one dataset were read so far.

    Attributes:
        candidates: Different candidates that were evaluated on them.
        readings: Readings in all: evaluations, repeated ones, and champions compared.
        maximum: Candidates beyond which a result by chance is warned of.
    """

    __test__ = False  # pytest takes the name for a test

    candidates: int = 0
    readings: int = 0
    maximum: int = 0

    @property
    def warning(self) -> str:
        """That many candidates on one test are a warning in themselves; empty where they are few."""
        if self.candidates <= self.maximum:
            return ""
        return (
            f"{self.candidates} candidates have read these test rows, more than {self.maximum}: the best of so many "
            "looks better than it is. Evaluate on new rows before trusting a small gain."
        )


class EvaluationRef(Reference):
    """The evaluation of one trained model.

    Attributes:
        key: The training key.
        brand: The brand (partition).
        location: JSON file with all of it (`EvaluationDetail` and the curves).
        version: SHA-256 of the files.
        metrics: Metrics per split: `auc`, `pr_auc`, `brier`, `precision_at_k`, `fpr`, `calibration_slope`, ...
        threshold: Score at or above which a journey is flagged.
        is_passed: Whether every blocking check holds.
        unmet: What keeps the model from being promoted, one sentence each, with figures.
        warnings: What failed without blocking.
        scope_key: The scope that it was held against.
        problem_type: `classification` or `regression`.
        intervals: Metric of the test split to its interval.
        findings: What each check found.
        fairness: Differences between groups.
        comparison: Against the champion of that moment; None where there was none to compare with.
        readings: How often the test rows had been read by then.
    """

    brand: str
    location: str
    version: str
    metrics: dict[str, dict[str, float]]
    threshold: float
    is_passed: bool
    unmet: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    scope_key: str = ""
    problem_type: str = "classification"
    intervals: dict[str, Interval] = Field(default={})
    findings: tuple[Finding, ...] = ()
    fairness: tuple[GroupDifference, ...] = ()
    comparison: Comparison | None = None
    readings: TestReadings = TestReadings()


class EvaluationDetail(Contract):
    """What stands in the evaluation's file beside metrics, curves and slices.

    Attributes:
        floors: Slices against their floors.
        recalibration: What was decided about recalibration.
        behaviour: What the behavioural tests found, in sentences.
        champion_problem: Why the champion could not be compared; empty where it could, or where there is none.
        left_out: Parts that do not apply to the problem type, and columns that the rows do not have, in words.
    """

    floors: tuple[SliceFloor, ...] = ()
    recalibration: Recalibrated = Recalibrated()
    behaviour: tuple[str, ...] = ()
    champion_problem: str = ""
    left_out: tuple[str, ...] = ()
