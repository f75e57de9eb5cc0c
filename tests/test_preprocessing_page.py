"""The page on preprocessing names what there is, with the settings and defaults it has."""

import re
from pathlib import Path
from typing import get_args

import pytest

from tfseg.plan import WINDOWS_HU, Normalisation
from tfseg.steps import KINDS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/preprocessing.md").read_text(encoding="utf-8")
RULES = {rule.model_fields["kind"].default: rule for rule in get_args(Normalisation)}


def rows(section):
    """First cell without its quotes -> the other cells, of the section's tables."""
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\| `([^`]+)` \|(.*)\|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in lines}


def settings_of(model):
    """The settings as the page writes them."""
    written = []
    for name, field in model.model_fields.items():
        default = field.default
        if name == "kind":
            continue
        if field.is_required() or default is None:
            written.append(f"`{name}`")
        else:
            value = list(default) if isinstance(default, tuple) else default
            written.append(f"`{name}={value}`")
    return ", ".join(written)


@pytest.mark.parametrize(
    ("section", "models"), [("Steps", KINDS), ("Normalisation", RULES)], ids=["steps", "rules"]
)
def test_every_kind_has_a_row_with_its_settings(section, models):
    table = {name: cells for name, cells in rows(section).items() if name not in WINDOWS_HU}
    assert set(table) == set(models)
    for name, model in models.items():
        assert table[name][0].replace(", or `preset`", "") == settings_of(model), name


def test_windows_are_those_of_the_plan():
    table = {name: cells for name, cells in rows("Normalisation").items() if name in WINDOWS_HU}
    assert {name: (float(a), float(b)) for name, (a, b) in table.items()} == WINDOWS_HU


def test_files_that_it_names_exist():
    for path in re.findall(r"`((?:tfseg|export|tests)/[^`]+)`", PAGE):
        assert (ROOT / path).exists(), path
