"""What is there twice is told from names and places alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfseg.datasets.base import Case
from tfseg.datasets.twice import twice


def case(name: str, label: str = "", **more: str) -> Case:
    return Case(name, Path(f"{name}.png"), Path(label or f"{name}_label.png"), **more)


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ((case("a", group="p"), case("b", group="p"), case("c", split="test", group="q")), None),
        ((case("a", group="p"), case("b", split="test", group="p")), "in the test part (p)"),
        ((case("a", "x.png"), case("b", "x.png")), "x.png is the label of a, b."),
        ((case("a1"), case("A1")), "a1 and A1 differ by capitals only"),
    ],
)
def test_what_is_said(cases: tuple[Case, ...], said: str | None) -> None:
    found = twice(cases)
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
