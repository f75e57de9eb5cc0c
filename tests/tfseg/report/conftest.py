"""Evaluations to show, and a reader of pages."""

from __future__ import annotations

import html.parser
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tfseg.evaluation import CaseResult, Metrics, summarise

SCORES = ("dice", "hd95", "reference_ml", "prediction_ml")
OPTIONS = {
    "empty_distance": "nan",
    "both_empty": "perfect",
    "hd_mode": "max",
    "tolerance_mm": 1.0,
    "sa_mode": "symdiff",
}


def case(name: str, **classes: tuple[float, ...]) -> CaseResult:
    """A case whose classes have the values of :data:`SCORES`."""
    return CaseResult(
        name, {key: dict(zip(SCORES, row, strict=True)) for key, row in classes.items()}
    )


@pytest.fixture
def evaluation() -> Callable[..., Metrics]:
    """Makes the document of cases; without any, of three that differ in every way that counts."""

    def make(results: list[CaseResult] | None = None, **fields: object) -> Metrics:
        if results is None:
            results = [
                case("one", liver=(0.9, 2.0, 100.0, 110.0), tumour=(0.5, 8.0, 2.0, 1.0)),
                case("two", liver=(0.8, 4.0, 120.0, 110.0), tumour=(0.0, math.nan, 3.0, 0.0)),
                case("three", liver=(0.7, 9.0, 80.0, 90.0), tumour=(1.0, 0.0, 0.0, 0.0)),
            ]
        given = {"data": "D", "source": "fold 0", "distance_unit": "mm", "options": OPTIONS}
        return Metrics(**{**given, **summarise(results), **fields})

    return make


class Page(html.parser.HTMLParser):
    """What a page would load, its tables and its drawings; its elements must be closed."""

    VOID = ("meta", "img", "br", "path", "rect", "circle")

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.headers: list[dict[str, str | None]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.titles: list[str] = []
        self._caption = ""

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in {"src", "srcset", "data"}]
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in {"href", "xlink:href"}]
        self.images += [found] if tag == "img" else []
        self.headers += [found] if tag == "th" else []
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "caption":
            self._caption = ""
        if tag == "tr":
            self.tables.setdefault(self._caption, []).append([])
        if tag in {"td", "th"}:
            self.tables[self._caption][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open:
            return
        if self.open[-1] == "caption":
            self._caption += data
        if self.open[-1] == "title":
            self.titles.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[self._caption][-1][-1] += re.sub(r"\s+", " ", data)

    def row(self, caption: str, *starts: str) -> list[str]:
        """The one row of a table that begins with these cells."""
        rows = [[cell.strip() for cell in row] for row in self.tables[caption]]
        (found,) = [row for row in rows if row[: len(starts)] == list(starts)]
        return found[len(starts) :]


@pytest.fixture
def read_page() -> Callable[[Path], Page]:
    """Reads a page and checks what holds for all of them."""

    def read(path: Path) -> Page:
        text = path.read_text(encoding="utf-8")
        page = Page()
        page.feed(text)
        assert page.open == []
        assert all(source.startswith("data:image/png;base64,") for source in page.sources)
        assert not {"script", "link", "iframe", "object"} & set(page.tags)
        assert "@import" not in text
        assert "url(" not in text
        assert all(image.get("alt") for image in page.images)
        assert all(header.get("scope") for header in page.headers)
        assert len(set(page.ids)) == len(page.ids)
        inner = [link[1:] for link in page.links if link.startswith("#")]
        assert set(inner) <= set(page.ids)
        return page

    return read
