"""Reads a page as a browser would, strictly: for the tests of what is rendered. Tests only."""

from html.parser import HTMLParser

HOSTILE = "<script>alert('x')</script>\"&'"
"""A text that must be shown and never run."""


class Reader(HTMLParser):
    """Checks that elements are closed in order, and collects tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, name: str) -> list[str]:
        """The values of an attribute, in the order of the page."""
        return [value for attribute, value in self.attributes if attribute == name]

    def handle_data(self, data: str) -> None:
        self.text += data
