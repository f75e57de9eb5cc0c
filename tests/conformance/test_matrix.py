"""The table of promises, from made-up reports."""

from types import SimpleNamespace

import pytest
from matrix import Matrix


def report(name, rank, title, **outcome):
    """What pytest tells of one phase of one test."""
    properties = [("other", 1), ("promise", [name, rank, title])]
    fields = {"failed": False, "skipped": False, "when": "call", "longrepr": None, **outcome}
    return SimpleNamespace(user_properties=properties, **fields)


def crash(message):
    return SimpleNamespace(reprcrash=SimpleNamespace(message=message))


REPORTS = [
    report("unet", 3, "sizes", when="setup"),
    report("unet", 3, "sizes"),
    report("unet", 3, "sizes", failed=True, longrepr=crash("assert 1 ==\n  2")),
    report("unet", 3, "sizes"),
    report("unet", 2, "sizes"),
    report("unet", 2, "ONNX", skipped=True, longrepr=("file", 1, "Skipped: it has no Foo")),
    report("fcn8s", 2, "ONNX", skipped=True, wasxfail="reason: not yet"),
    report("gcn", 2, "ONNX", when="setup", failed=True, longrepr="the fixture broke"),
]


def test_a_cell_is_as_good_as_its_worst_test(tmp_path):
    table = Matrix(tmp_path / "table.md")
    for one in REPORTS:
        table.pytest_runtest_logreport(one)
    lines = []
    terminal = SimpleNamespace(section=lines.append, write_line=lines.append)
    table.pytest_terminal_summary(terminal)
    assert lines[0] == "conformance"
    text = """\
| network  | ONNX | sizes |
| -------- | ---- | ----- |
| fcn8s 2D | no   |       |
| gcn 2D   | FAIL |       |
| unet 2D  | no   | ok    |
| unet 3D  |      | FAIL  |

- fcn8s 2D, ONNX: not yet
- gcn 2D, ONNX: the fixture broke
- unet 2D, ONNX: it has no Foo
- unet 3D, sizes: assert 1 == 2"""
    assert lines[1] == text
    assert (tmp_path / "table.md").read_text() == text + "\n"


@pytest.mark.parametrize("reports", [[], [SimpleNamespace(user_properties=[])]])
def test_without_promises_there_is_no_table(reports, tmp_path):
    table = Matrix(tmp_path / "table.md")
    for one in reports:
        table.pytest_runtest_logreport(one)
    table.pytest_terminal_summary(None)
    assert not list(tmp_path.iterdir())
