"""``tfseg metrics``: the registry as a table, as JSON, and one metric in full."""

import dataclasses
import json

import pytest

from tfseg.cli.main import run
from tfseg.metrics.registry import METRICS


def test_the_table_has_every_metric(capsys):
    assert run(["metrics"]) == 0
    table = capsys.readouterr().out
    for name in METRICS:
        assert name in table


def test_json_has_every_field(capsys):
    assert run(["metrics", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        dataclasses.asdict(info) for info in METRICS.values()
    ]


def test_one_metric_in_full(capsys):
    assert run(["metrics", "hd95"]) == 0
    printed = capsys.readouterr().out
    info = METRICS["hd95"]
    for value in (info.summary, info.empty, info.source, info.function, "mm"):
        assert value in printed
    assert run(["metrics", "hd95", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == dataclasses.asdict(info)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["dise"], ("unknown metric 'dise'", "Did you mean dice")),
        (["dice", "hd95"], ("unexpected extra argument", "hd95")),
        (["--level", "class"], ("No such option", "--level")),
    ],
)
def test_bad_input_metrics(arguments, parts, capsys):
    assert run(["metrics", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    for part in parts:
        assert part in captured.err
