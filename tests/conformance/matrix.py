"""The table of `make conformance`: every network in its ranks, and which promises it kept.

A plugin of pytest. A test marked ``promise("TITLE")`` with parameters ``name`` and ``rank`` fills
the cell of that row and column; one that was skipped or is expected to fail shows why below.
"""

from pathlib import Path

import pytest

KEPT, BROKEN, EXCUSED, UNTRIED = "ok", "FAIL", "no", ""
_WORST_FIRST = (BROKEN, EXCUSED, KEPT, UNTRIED)
_PROPERTY = "promise"


def pytest_addoption(parser):
    """Let the table be kept."""
    parser.addoption("--matrix", metavar="FILE", help="write the conformance table to FILE too")


def pytest_configure(config):
    """Declare the mark, and collect where reports come together: not in xdist's workers."""
    config.addinivalue_line("markers", "promise(title): a column of the conformance table")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Matrix(config.getoption("matrix")), "conformance-matrix")


# After the plugins that deselect, so that only what runs is a column.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Write into each test's report which cell it fills; that travels between processes."""
    for item in items:
        mark = item.get_closest_marker(_PROPERTY)
        if mark is not None:
            values = item.callspec.params
            item.user_properties.append((_PROPERTY, [values["name"], values["rank"], *mark.args]))


class Matrix:
    """Collects the reports and prints the table.

    Attributes:
        cells: (name, rank) -> title -> one of KEPT, BROKEN, EXCUSED.
        remarks: one line for every cell that is not KEPT.
    """

    def __init__(self, path=None):
        self.path = path
        self.cells = {}
        self.remarks = []

    def pytest_runtest_logreport(self, report):
        """Enter what one phase of one test came to."""
        for name, rank, title in (v for key, v in report.user_properties if key == _PROPERTY):
            outcome = _outcome(report)
            row = self.cells.setdefault((name, rank), {})
            row[title] = min(outcome, row.get(title, UNTRIED), key=_WORST_FIRST.index)
            if outcome in (BROKEN, EXCUSED):
                self.remarks.append(f"{name} {rank}D, {title}: {_reason(report)}")

    def pytest_terminal_summary(self, terminalreporter):
        """Print the table, and write it to the file that was asked for."""
        if not self.cells:
            return
        text = self.text()
        terminalreporter.section("conformance")
        terminalreporter.write_line(text)
        if self.path is not None:
            Path(self.path).write_text(text + "\n", encoding="utf-8")

    def text(self):
        """Return a Markdown table, and the remarks below it."""
        titles = sorted({title for row in self.cells.values() for title in row})
        rows = [["network", *titles], ["", *titles]]
        for (name, rank), row in sorted(self.cells.items()):
            rows.append([f"{name} {rank}D", *(row.get(title, UNTRIED) for title in titles)])
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        rows[1] = ["-" * width for width in widths]
        lines = [
            "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
            for row in rows
        ]
        if self.remarks:
            lines += ["", *(f"- {remark}" for remark in sorted(set(self.remarks)))]
        return "\n".join(lines)


def _outcome(report):
    if report.failed:
        return BROKEN
    if report.skipped:  # expected failures, too
        return EXCUSED
    return KEPT if report.when == "call" else UNTRIED


def _reason(report):
    """Return why a test did not pass, in a line."""
    if hasattr(report, "wasxfail"):
        text = report.wasxfail.removeprefix("reason: ")
    elif isinstance(report.longrepr, tuple):  # (file, line, why it was skipped)
        text = report.longrepr[2].removeprefix("Skipped: ")
    else:
        crash = getattr(report.longrepr, "reprcrash", None)
        text = crash.message if crash is not None else str(report.longrepr)
    return " ".join(text.split())[:300]
