"""HTML as values: an element, a table, a list of terms. Whatever is not HTML already is escaped, without exception.

What a page says belongs to `report_sections`, its look to `report_style`.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime


class Html(str):
    """Markup that was made here, and so is not escaped again."""

    __slots__ = ()


Content = str | Html | None

VOID = frozenset({"br", "img", "meta", "link", "circle", "line", "path", "rect"})
"""Elements without content."""

MISSING = "n/a"
"""Shown for a figure that could not be computed."""


def el(tag: str, *children: Content, **attributes: object) -> Html:
    """An element.

    Args:
        tag: Element name.
        children: Escaped unless they are `Html`; None is left out.
        attributes: Values are escaped; `class_` is `class`, other underscores are hyphens; None leaves one out.
    """
    pairs = (
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    opening = f"<{tag}{''.join(pairs)}>"
    if tag in VOID:
        return Html(opening.replace(">", "/>"))
    return Html(f"{opening}{joined(children)}</{tag}>")


def joined(children: Iterable[Content]) -> Html:
    """Content one after another."""
    return Html("".join(c if isinstance(c, Html) else html.escape(c) for c in children if c is not None))


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Content]], numbers: Iterable[int] = (), label: str = ""
) -> Html:
    """A table that scrolls sideways by itself where the screen is too narrow.

    Args:
        heads: Column headings.
        rows: One content per column.
        numbers: Positions of the columns that hold figures.
        label: What the table is, for whom it is read out.
    """
    right = set(numbers)

    def cells(tag: str, row: Sequence[Content]) -> Html:
        return joined(el(tag, cell, class_="n" if at in right else None) for at, cell in enumerate(row))

    head = el("thead", el("tr", cells("th", heads)))
    body = el("tbody", *(el("tr", cells("td", row)) for row in rows))
    return el("div", el("table", head, body), class_="scroll", tabindex=0, role="region", aria_label=label or None)


def terms(pairs: Mapping[str, Content]) -> Html:
    """Terms with what they stand for; an empty one is left out."""
    return el("dl", *(joined([el("dt", term), el("dd", said)]) for term, said in pairs.items() if said))


def bullets(items: Iterable[Content]) -> Html:
    """A list."""
    return el("ul", *(el("li", item) for item in items))


def embedded(png: str, alt: str) -> Html:
    """A picture within the page.

    Args:
        png: The PNG, base64.
        alt: What it shows, in words.
    """
    return el("div", el("img", src=f"data:image/png;base64,{png}", alt=alt), class_="plot")


def pill(text: str, mood: str = "") -> Html:
    """A word as a label; `mood` is `good`, `bad`, `warn` or nothing."""
    return el("span", text, class_=f"pill {mood}".strip())


def note(*children: Content) -> Html:
    """A remark in small print."""
    return el("p", *children, class_="note")


def count(value: float | None) -> str:
    """A whole number with separators."""
    return MISSING if value is None or math.isnan(value) else f"{value:,.0f}"


def figure(value: float | None, digits: int = 3) -> str:
    """A figure with fixed digits."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def times(value: float | None) -> str:
    """A multiple or a slope, with two digits."""
    return figure(value, 2)


def duration(seconds: float) -> str:
    """A time as people say it: `<0.1 s`, `0.4 s`, `56 s`, `3 min 53 s`, `2 h 5 min`."""
    if seconds < 0.05:
        return "<0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def memory(mib: float | None) -> str:
    """An amount of memory, given in MiB."""
    if mib is None:
        return MISSING
    return f"{mib / 1024:.2f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"


def plural(number: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 asset`, `2 assets`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def day(when: date) -> str:
    """A day: `4 January 2025`."""
    return f"{when.day} {when:%B %Y}"


def moment(when: datetime) -> str:
    """A moment in UTC: `4 January 2025, 23:27 UTC`."""
    return f"{day(when)}, {when:%H:%M} UTC"


def percent(value: float | None, digits: int = 1) -> str:
    """A share, 0..1, as a percentage."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}%}"


def ratio(part: float, whole: float) -> str:
    """One count over another, as a percentage; missing where there is nothing to divide by."""
    return percent(part / whole) if whole else MISSING
