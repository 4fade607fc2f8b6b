"""What the pages say of a probability and what of a number, where the two differ.

The rest of a page is the same for a classification and a regression, and stands in the other `report_*` modules.
"""

from e2i_pipeline.domain.criteria import criteria as criteria_of
from e2i_pipeline.domain.metrics import MINIMUM_CELL
from e2i_pipeline.domain.report_data import ModelCardData, RunReportData, StageResults
from e2i_pipeline.domain.report_page import Tile
from e2i_pipeline.domain.report_parts import Content, Html, count, el, figure, joined, note, pill, table, terms, times

FEW_OUTCOMES = 100
"""Outcomes in the test split below which its figures are called uncertain: at least 100 events are advised to validate
a prediction model (Vergouwe et al. 2005; Collins et al. 2016). Of a regression, 100 measured outcomes."""


def is_regression(data: StageResults) -> bool:
    """Whether a number is predicted."""
    return data.scope.problem_type == "regression"


def score_tiles(data: StageResults, beside: str = "") -> tuple[Tile, Tile]:
    """How good the model is on the test split, in two figures; `beside` is said with the first."""
    test = data.evaluation.metrics.get("test", {})
    if is_regression(data):
        return (
            Tile(figure(test.get("rmse")), f"RMSE on the test split, in the unit of {data.scope.target}{beside}"),
            Tile(figure(test.get("r2")), "R2; 0 is no better than always saying the mean"),
        )
    return (
        Tile(figure(test.get("auc")), f"AUC on the test split{beside}"),
        Tile(times(test.get("lift_at_k")), f"times the base rate among the top {data.scope.capacity:.0%}"),
    )


def rows_tile(data: ModelCardData) -> Tile:
    """How much the figures of the test split rest on."""
    rows, positives = data.training.split_counts.get("test"), data.training.positives.get("test")
    with_outcome = "with a measured outcome" if is_regression(data) else f"{count(positives)} with the outcome"
    return Tile(count(rows), f"test journeys, {with_outcome}")


def promise(data: ModelCardData) -> str:
    """What the model gives, in a sentence."""
    scope, brand = data.scope, data.version.brand
    if is_regression(data):
        return f"Gives each {brand} journey the {scope.target} to be expected, a number. "
    return (
        f"Gives each {brand} journey the probability of {scope.target} within {scope.prediction_horizon_days} days of "
        "its index date. "
    )


def answer(data: ModelCardData) -> str:
    """What a row of the service's answer holds."""
    return "a value" if is_regression(data) else "a probability and a flag"


def meant_for(data: ModelCardData) -> str:
    """The use that the model was made for."""
    if is_regression(data):
        return (
            f"Saying which {data.scope.target} to expect of {data.version.brand} journeys like those above, on average "
            "over many of them."
        )
    return (
        f"Ranking {data.version.brand} journeys like those above, so that a team with room for the top "
        f"{data.scope.capacity:.0%} spends it where treatment is likeliest."
    )


def not_why(data: ModelCardData) -> str:
    """That a prediction is no cause."""
    finds = f"finds what goes with {data.scope.target}" if is_regression(data) else "finds who starts treatment"
    return f"Saying what would change an outcome: the model {finds}, not why. Causal questions have their own analysis."


def too_few(data: StageResults) -> str:
    """That the test split has few outcomes, or nothing where it has enough."""
    outcomes = (data.training.split_counts if is_regression(data) else data.training.positives).get("test", 0)
    if outcomes >= FEW_OUTCOMES:
        return ""
    kind = "measured outcomes" if is_regression(data) else "outcomes"
    return f"The test split has {count(outcomes)} {kind}; with fewer than {FEW_OUTCOMES} all its figures are uncertain."


def regression_criteria(data: StageResults) -> Html:
    """The criteria that were set, and what the test split gave."""
    rows: list[list[Content]] = []
    for one in criteria_of(data.evaluation.metrics.get("test", {}), data.scope):
        bound = f"at {'least' if one.is_minimum else 'most'} {figure(one.bound)}"
        rows.append([one.name, bound, figure(one.value), pill("met", "good") if one.is_met else pill("not met", "bad")])
    if not rows:
        return note("No success criterion was set for this regression.")
    return table(("Criterion", "Set before", "Test split", ""), rows, (2, 3), "Success criteria")


def errors_by_level(data: StageResults) -> Html:
    """Test journeys in groups by rising prediction: what was said, what came, and how far apart the two lie."""
    found = data.curves.get("residuals")
    if not found or min(found["rows"], default=0) < MINIMUM_CELL:
        return note("Too few test journeys to be shown by level of the prediction.")
    names = ("rows", "predicted", "observed", "low", "high")
    rows = [
        [str(at), count(size), figure(said), figure(came), f"{figure(low)} to {figure(high)}"]
        for at, (size, said, came, low, high) in enumerate(zip(*(found[n] for n in names), strict=True), start=1)
    ]
    heads = ("Group", "Journeys", "Mean predicted", "Mean observed", "Observed less predicted, 80% of journeys")
    return joined(
        [
            el("h3", "By level of the prediction"),
            table(heads, rows, range(1, 5), "Outcomes by level of the prediction"),
            note("Test journeys in groups of equal size, from the lowest predictions to the highest."),
        ]
    )


def expected_values(data: RunReportData, state: Html) -> Html:
    """The batch predictions of a regression in sum."""
    scores, scored = data.scores, data.predictions
    trained = data.evaluation.metrics.get("train", {}).get("mean")
    mean = scores.mean if scores else None
    against = "" if trained is None else f", against {figure(trained)} measured of the training journeys"
    return terms(
        {
            "Scored": f"{count(scored.rows)} journeys whose outcome is still open, by {scored.model_name} version "
            f"{scored.model_version}",
            "Mean value": "" if mean is None else f"{figure(mean)}{against}",
            "This run": state,
        }
    )
