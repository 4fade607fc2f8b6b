"""The model card: one self-contained HTML page that says what a model is, how good, why, from what, and where it ends.

This module orders the sections; what they say stands in the `report_*_sections` modules, what they are made of in
`report_data`. Nothing is fetched from anywhere, and everything that comes from data is escaped.
"""

from e2i_pipeline.domain import report_data_sections as from_data
from e2i_pipeline.domain import report_sections as from_model
from e2i_pipeline.domain import report_use_sections as from_use
from e2i_pipeline.domain.report_data import ModelCardData
from e2i_pipeline.domain.report_parts import Html, count, el, figure, joined, pill, times
from e2i_pipeline.domain.report_style import CSS


def model_card(data: ModelCardData) -> str:
    """Renders the card.

    Args:
        data: What it shows.

    Returns:
        An HTML page that needs nothing but itself; the same page for the same data.
    """
    version = data.version
    title = f"{version.name} version {version.version}"
    sections = _sections(data)
    body = el(
        "div",
        _header(data, title),
        el(
            "nav",
            el("ol", *(el("li", el("a", name, href=f"#{key}")) for key, name, _ in sections)),
            aria_label="Sections",
        ),
        el("main", *(el("section", el("h2", name), content, id=key) for key, name, content in sections)),
        el("footer", f"E2I pipeline, training key {version.key}"),
        class_="frame",
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"Model card: {title}"),
        el("style", Html(CSS)),
    )
    return "<!DOCTYPE html>\n" + el("html", head, el("body", body), lang="en") + "\n"


def _sections(data: ModelCardData) -> list[tuple[str, str, Html]]:
    """Anchor, heading and content, in the order of the page; a section without content is left out."""
    made = (
        ("purpose", "What it predicts", from_model.purpose(data)),
        ("criteria", "Success criteria", from_model.criteria(data)),
        ("performance", "Performance", from_model.performance(data)),
        ("groups", "By group", from_model.slices(data)),
        ("drivers", "What moves the scores", from_model.drivers(data)),
        ("limits", "Use and limits", from_use.limits(data)),
        ("data", "Training data", from_data.training_data(data)),
        ("defects", "Defects in the input", from_data.defects(data)),
        ("audits", "Audits and gates", from_data.audits(data)),
        ("features", "Features", from_data.features(data)),
        ("study", "Hyperparameter study", from_data.study(data)),
        ("use", "How to call it", from_use.use(data)),
        ("decision", "Promotion", from_use.decision(data)),
        ("places", "Where everything lies", from_use.places(data)),
    )
    return [(key, name, content) for key, name, content in made if content]


def _header(data: ModelCardData, title: str) -> Html:
    scope, test = data.scope, data.evaluation.metrics.get("test", {})
    met = pill("all criteria met", "good") if data.evaluation.is_passed else pill("criteria not met", "bad")
    rows, positives = data.training.split_counts.get("test"), data.training.positives.get("test")
    tiles = (
        (figure(test.get("auc")), "AUC on the test split"),
        (times(test.get("lift_at_k")), f"times the base rate among the top {scope.capacity:.0%}"),
        (count(rows), f"test journeys, {count(positives)} with the outcome"),
        (times(test.get("calibration_slope")), "calibration slope; 1 is right"),
    )
    return el(
        "header",
        el("p", f"Model card · {data.version.brand}", class_="eyebrow"),
        el("h1", title),
        el(
            "p",
            f"Gives each {data.version.brand} journey the probability of {scope.target} within "
            f"{scope.prediction_horizon_days} days of its index date. ",
            met,
            joined([" ", pill(data.version.stage)]),
            class_="lead",
        ),
        el("div", *(el("div", el("b", big), el("span", small), class_="tile") for big, small in tiles), class_="tiles"),
    )
