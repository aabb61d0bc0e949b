"""A parsed HTML page: its elements, its text, and its external resources."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser

LOADING = ("src", "href", "srcset", "data", "poster", "action")


class Page(HTMLParser):
    """A parsed page: counts of ``tags``, ``text`` outside of scripts, external resources (``loads``)."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self._words: list[str] = []
        self._open: list[str] = []
        self.feed(html)

    @property
    def text(self) -> str:
        return "".join(self._words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self._open.append(tag)
        if tag == "script":
            self.scripts.append("")
        if tag == "img":
            self.images.append(dict(attrs))
        for name, value in attrs:
            if name in LOADING and not (value or "").startswith(("data:", "#")):
                self.loads.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.handlers.append(f"{tag} {name}")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "script" in self._open:
            self.scripts[-1] += data
        elif "style" in self._open:
            assert "@import" not in data and "http" not in data
        else:
            self._words.append(data)
