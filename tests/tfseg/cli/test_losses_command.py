"""``tfseg losses``."""

import json

import pytest

from tfseg.cli.main import run
from tfseg.losses import LOSSES


def test_json_lists_every_loss(capsys):
    assert run(["losses", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    document = json.loads(captured.out)
    assert [entry["name"] for entry in document] == list(LOSSES)
    assert document[0]["name"] == "ce"
    assert set(document[0]) == {
        *("name", "category", "kind", "signature", "formula", "paper", "needs", "aliases")
    }


def test_the_table_names_them(capsys):
    assert run(["losses"]) == 0
    out = capsys.readouterr().out
    for name in LOSSES:
        assert name in out


@pytest.mark.parametrize("name", list(LOSSES))
def test_one_in_detail(name, capsys):
    assert run(["losses", name]) == 0
    out = capsys.readouterr().out
    assert out.startswith(LOSSES[name].signature)
    assert LOSSES[name].paper in out
    if LOSSES[name].kind == "supervised":
        assert "ignore_index=None" in out


def test_bad_input_unknown_loss(capsys):
    assert run(["losses", "dise"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "unknown loss 'dise'" in captured.err
    assert "Did you mean dice" in captured.err
