"""The model card: one self-contained HTML page that says what a model is, how good, why, from what, and where it ends.

This module orders the sections; what they say stands in the `report_*_sections` modules, what they are made of in
`report_data`, what frames them in `report_page`. Nothing is fetched from anywhere, and everything that comes from data
is escaped.
"""

from e2i_pipeline.domain import report_data_sections as from_data
from e2i_pipeline.domain import report_evaluation_sections as from_evaluation
from e2i_pipeline.domain import report_sections as from_model
from e2i_pipeline.domain import report_use_sections as from_use
from e2i_pipeline.domain.report_data import ModelCardData
from e2i_pipeline.domain.report_page import Section, Tile, heading, page
from e2i_pipeline.domain.report_parts import Html, joined, pill, times
from e2i_pipeline.domain.report_problem_sections import promise, rows_tile, score_tiles


def model_card(data: ModelCardData) -> str:
    """Renders the card.

    Args:
        data: What it shows.

    Returns:
        An HTML page that needs nothing but itself; the same page for the same data.
    """
    version = data.version
    title = f"{version.name} version {version.version}"
    sections = (
        Section("purpose", "What it predicts", from_model.purpose(data)),
        Section("criteria", "Success criteria", from_model.criteria(data)),
        Section("gate", "Evaluation gate", from_evaluation.gate(data)),
        Section("performance", "Performance", from_model.performance(data)),
        Section("groups", "By group", from_model.slices(data)),
        Section("fairness", "Between groups", from_evaluation.fairness(data)),
        Section("drivers", "What moves the scores", from_model.drivers(data)),
        Section("limits", "Use and limits", from_use.limits(data)),
        Section("data", "Training data", from_data.training_data(data)),
        Section("defects", "Defects in the input", from_data.defects(data)),
        Section("audits", "Audits and gates", from_data.audits(data)),
        Section("features", "Features", from_data.features(data)),
        Section("study", "Hyperparameter study", from_data.study(data)),
        Section("use", "How to call it", from_use.use(data)),
        Section("decision", "Promotion", from_use.decision(data)),
        Section("places", "Where everything lies", from_use.places(data)),
    )
    return page(f"Model card: {title}", _header(data, title), sections, f"E2I pipeline, training key {version.key}")


def _header(data: ModelCardData, title: str) -> Html:
    test = data.evaluation.metrics.get("test", {})
    met = pill("gate passed", "good") if data.evaluation.is_passed else pill("gate not passed", "bad")
    lead = (promise(data), met, joined([" ", pill(data.version.stage)]))
    tiles = (
        *score_tiles(data),
        rows_tile(data),
        Tile(times(test.get("calibration_slope")), "calibration slope; 1 is right"),
    )
    return heading(f"Model card · {data.version.brand}", title, lead, tiles)
