"""The evaluation gate: figures in, one finding per check out.

Which part blocks is configured; what follows a verdict is decided in `promotion`.

A success criterion is held against the figure itself: it was set before training and says what is wanted. Every other
bound takes chance into account: it is broken only when the whole interval lies beyond it, because a bound that a good
model of few patients breaks by chance would teach people to ignore it.
"""

from collections.abc import Mapping, Sequence

from e2i_pipeline.contracts.evaluation import (
    Comparison,
    Finding,
    GroupDifference,
    Interval,
    SliceFloor,
    TestReadings,
)
from e2i_pipeline.contracts.evaluation_rules import CalibrationRules, EvaluationRules, Gate
from e2i_pipeline.contracts.training import ExperimentScope
from e2i_pipeline.domain.behaviour import Behaviour
from e2i_pipeline.domain.criteria import criteria
from e2i_pipeline.domain.promotion import is_better

_CLASSIFICATION = {
    "test_auc_reaches_the_minimum": "AUC on the test split is at least `success_criteria.minimum_auc`.",
    "precision_at_capacity_reaches_the_minimum": (
        "Precision among the top share that a team can act on, over the base rate, is at least "
        "`success_criteria.minimum_precision_at_k`."
    ),
    "false_positive_rate_is_within_the_maximum": (
        "The false-positive rate at the capacity's threshold is at most `success_criteria.maximum_fpr`."
    ),
}
_REGRESSION = {
    "r2_reaches_the_minimum": "R2 on the test split is at least `success_criteria.minimum_r2`, where one is set.",
    "rmse_is_within_the_maximum": "RMSE on the test split is at most `success_criteria.maximum_rmse`, where set.",
}
CALIBRATED, CALIBRATED_NUMBERS = "probabilities_are_calibrated", "predictions_are_calibrated"
SLICES = "slices_reach_their_floor"
FAIR, BEHAVES = "groups_are_treated_alike", "model_behaves_as_declared"
BEATS, FEW_READERS = "candidate_beats_the_champion", "test_rows_were_read_by_few_candidates"
_PROBABILITIES = {
    CALIBRATED: (
        "Calibration slope, intercept and expected calibration error on the test split lie within "
        "`evaluation.calibration`."
    ),
    FAIR: "Groups differ at the threshold by no more than `evaluation.fairness` allows.",
}
_NUMBERS = {CALIBRATED_NUMBERS: "The calibration slope on the test split lies within `evaluation.calibration`."}
_SHARED = {
    SLICES: "No slice of the test split is worse than the whole by more than `promotion.slice_floor`.",
    BEHAVES: "Predictions depend neither on row order nor on identifiers, and go in the declared directions.",
    BEATS: "On the same rows the candidate is better than the present champion by `promotion.min_absolute_change`.",
    FEW_READERS: "At most `evaluation.maximum_candidates` candidates have read these test rows.",
}


def checks_for(problem_type: str) -> dict[str, str]:
    """The checks on an evaluation and what each says, for a problem type; nobody is flagged by a regression."""
    own = {**_REGRESSION, **_NUMBERS} if problem_type == "regression" else {**_CLASSIFICATION, **_PROBABILITIES}
    return {**own, **_SHARED}


def criteria_findings(
    metrics: Mapping[str, float], scope: ExperimentScope, rules: EvaluationRules
) -> tuple[Finding, ...]:
    """Success criteria; one that is not set holds."""
    found = {criterion.check: criterion for criterion in criteria(metrics, scope)}
    names = _REGRESSION if scope.problem_type == "regression" else _CLASSIFICATION
    findings: list[Finding] = []
    for name in names:
        criterion = found.get(name)
        sentences = () if criterion is None or criterion.is_met else (criterion.sentence,)
        value = criterion.value if criterion else None
        findings.append(_finding(name, "success_criteria", rules, sentences, value))
    return tuple(findings)


def calibration_finding(
    intervals: Mapping[str, Interval],
    ece: float | None,
    highest_ece: float,
    rules: EvaluationRules,
    *,
    is_probability: bool = True,
) -> Finding:
    """Slope and intercept within their bounds, and the expected calibration error.

    Args:
        intervals: `calibration_slope` and `calibration_intercept`.
        ece: Expected calibration error, 0..1; None for a regression.
        highest_ece: What a model of as many rows whose true error is the maximum exceeds once in 20 times: the error
            is biased upwards in small samples.
        rules: The bounds.
        is_probability: Whether the intercept has a bound: that of a regression is in the target's unit and has none.
    """
    bounds: CalibrationRules = rules.calibration
    slope = intervals.get("calibration_slope", Interval(estimate=None, low=None, high=None))
    sentences = list(_outside("Calibration slope", slope, bounds.slope))
    if is_probability:
        intercept = intervals.get("calibration_intercept", Interval(estimate=None, low=None, high=None))
        sentences += _outside("Calibration intercept", intercept, bounds.intercept)
    if ece is not None and ece > highest_ece:
        sentences.append(
            f"Expected calibration error is {ece:.3f}, above the maximum {bounds.maximum_ece:.3f} and the "
            f"{highest_ece:.3f} up to which chance may bring it."
        )
    check = CALIBRATED if is_probability else CALIBRATED_NUMBERS
    return _finding(check, "calibration", rules, sentences, slope.estimate)


def slices_finding(floors: Sequence[SliceFloor], score: str, rules: EvaluationRules) -> Finding:
    """Every slice reaches its floor; `score` names what was measured, e.g. `AUC`."""
    is_least = score == "AUC"
    missed = [
        f"{score} of {one.column} {one.value} is {_figure(one.score.estimate)} ({_figure(one.score.low)} to "
        f"{_figure(one.score.high)}, {one.rows} rows), {'below the floor' if is_least else 'above the ceiling'} "
        f"{one.floor:.3f}."
        for one in floors
        if not one.is_met
    ]
    values = [one.score.estimate for one in floors if one.score.estimate is not None]
    worst = (min(values) if is_least else max(values)) if values else None
    return _finding(SLICES, "slices", rules, missed, worst)


def fairness_finding(differences: Sequence[GroupDifference], rules: EvaluationRules) -> Finding:
    """No difference between groups is beyond its bound."""
    names = {"equal_opportunity": "true-positive rate", "demographic_parity": "share flagged"}
    missed = [_apart(one, names[one.measure]) for one in differences if not one.is_within]
    told = [one.difference.estimate for one in differences if one.difference.estimate is not None]
    widest = max(told, default=None)
    return _finding(FAIR, "fairness", rules, missed, widest)


def _apart(one: GroupDifference, rate: str) -> str:
    high, low = one.rates[one.highest], one.rates[one.lowest]
    if high is None or low is None:
        return (
            f"The {rate} by {one.column} is higher for {one.highest} than for {one.lowest} by more than the maximum "
            f"{one.bound:.3f}, chance set aside; too few persons are behind it for the figures to be told."
        )
    return (
        f"The {rate} by {one.column} is {high:.1%} for {one.highest} and {low:.1%} for {one.lowest}: a difference of "
        f"{_figure(one.difference.estimate)} ({_figure(one.difference.low)} to {_figure(one.difference.high)}), above "
        f"the maximum {one.bound:.3f}."
    )


def behaviour_finding(found: Sequence[Behaviour], rules: EvaluationRules) -> Finding:
    """Every behavioural test passed."""
    missed = [one.sentence for one in found if not one.is_passed]
    return _finding(BEHAVES, "behaviour", rules, missed, max((one.share for one in found), default=None))


def comparison_finding(comparison: Comparison | None, problem: str, margin: float, significance: float) -> Finding:
    """Against the champion of the moment. It never blocks here: promotion asks again, of the champion of its moment."""
    if comparison is None:
        return Finding(
            check=BEATS,
            part="comparison",
            is_passed=not problem,
            is_blocking=False,
            sentences=(problem,) if problem else (),
        )
    better, sentence = is_better(comparison, margin, significance)
    return Finding(
        check=BEATS,
        part="comparison",
        is_passed=better,
        is_blocking=False,
        observed=comparison.gain.estimate,
        sentences=(sentence,),
    )


def readings_finding(readings: TestReadings) -> Finding:
    """Few candidates have read the test rows."""
    warning = readings.warning
    return Finding(
        check=FEW_READERS,
        part="readings",
        is_passed=not warning,
        is_blocking=False,
        observed=float(readings.candidates),
        sentences=(warning,) if warning else (),
    )


def unmet(findings: Sequence[Finding]) -> tuple[str, ...]:
    """What keeps a model from being promoted."""
    return tuple(s for f in findings if f.is_blocking and not f.is_passed for s in f.sentences)


def warnings(findings: Sequence[Finding]) -> tuple[str, ...]:
    """What failed without blocking."""
    return tuple(s for f in findings if not f.is_blocking and not f.is_passed for s in f.sentences)


def _finding(
    check: str, part: Gate, rules: EvaluationRules, sentences: Sequence[str], observed: float | None
) -> Finding:
    known = observed if observed is not None and observed == observed else None
    return Finding(
        check=check,
        part=part,
        is_passed=not sentences,
        is_blocking=part in rules.blocking,
        observed=known,
        sentences=tuple(sentences),
    )


def _outside(name: str, found: Interval, bounds: tuple[float, float]) -> list[str]:
    low, high = bounds
    if found.estimate is None or found.low is None or found.high is None:
        return [f"{name} could not be computed: the predictions are all alike, or separate the outcomes."]
    if found.high >= low and found.low <= high:
        return []
    figures = f"{found.estimate:.3f} ({found.low:.3f} to {found.high:.3f})"
    return [f"{name} is {figures}, outside {low:g} to {high:g}."]


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
