"""Pages that are written by a program are what it writes."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["losses", "metrics", "datasets"])
def test_the_lists_are_current(page):
    written = getattr(load("make_lists"), f"{page}_page")()
    assert (DOCS / f"{page}.md").read_text(encoding="utf-8") == written, (
        "run: python docs/make_lists.py"
    )


def test_the_page_of_networks_is_current():
    import json

    from tfseg.models import MODELS

    maker = load("make_models")
    stored = json.loads((maker.ROOT / "tfseg/models/parameters.json").read_text(encoding="utf-8"))
    assert list(stored) == list(MODELS), "run: python docs/make_models.py"
    assert (DOCS / "models.md").read_text(encoding="utf-8") == maker.page(stored)
