"""The page that the model card and the run's report share: head, navigation, sections, foot.

What a page says stands in `report` and `run_report`; how it looks in `report_style`.
"""

from collections.abc import Iterable
from typing import NamedTuple

from e2i_pipeline.domain.report_parts import Content, Html, el
from e2i_pipeline.domain.report_style import CSS


class Section(NamedTuple):
    """One section of a page.

    Attributes:
        key: Its anchor.
        name: Its heading.
        content: What it says; empty or None leaves the section out.
    """

    key: str
    name: str
    content: Html | None


class Tile(NamedTuple):
    """A figure that is seen first.

    Attributes:
        figure: The figure.
        meaning: What it is, in a few words.
    """

    figure: str
    meaning: str


def page(title: str, header: Html, sections: Iterable[Section], footer: str) -> str:
    """One HTML page that needs nothing but itself.

    Args:
        title: Title of the window.
        header: What `heading` made.
        sections: In the order of the page.
        footer: Last line.
    """
    shown = [section for section in sections if section.content]
    links = (el("li", el("a", section.name, href=f"#{section.key}")) for section in shown)
    body = el(
        "div",
        header,
        el("nav", el("ol", *links), aria_label="Sections"),
        el("main", *(el("section", el("h2", s.name), s.content, id=s.key) for s in shown)),
        el("footer", footer),
        class_="frame",
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", title),
        el("style", Html(CSS)),
    )
    return "<!doctype html>\n" + el("html", head, el("body", body), lang="en") + "\n"


def heading(eyebrow: str, title: str, lead: Iterable[Content], tiles: Iterable[Tile], *more: Content) -> Html:
    """The top of a page: what it is, its title, its point in a sentence, and the figures that are seen first.

    Args:
        eyebrow: Kind of the page.
        title: Its title.
        lead: Its point.
        tiles: The figures.
        more: What follows the lead, before the figures.
    """
    shown = (el("div", el("b", tile.figure), el("span", tile.meaning), class_="tile") for tile in tiles)
    return el(
        "header",
        el("p", eyebrow, class_="eyebrow"),
        el("h1", title),
        el("p", *lead, class_="lead"),
        *more,
        el("div", *shown, class_="tiles"),
    )
