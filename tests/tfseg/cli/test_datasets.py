"""``tfseg datasets`` from the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tfseg.cli.main import run


def test_table_and_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["datasets"]) == 0
    printed = capfd.readouterr()
    assert "msd" in printed.out
    assert "drive" in printed.out
    assert run(["datasets", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    dims = {entry["name"]: entry["dims"] for entry in document}
    assert dims["msd"] == 3
    assert dims["drive"] == 2
    assert all(
        entry["layout"] and entry["reference"] and entry["licence"] and entry["ids"]
        for entry in document
    )


@pytest.mark.parametrize("command", ["phantom", "datasets", "check", "import-dicom"])
def test_help_imports_nothing_heavy(command: str) -> None:
    code = (
        "import sys; from tfseg.cli.main import run; "
        f"code = run([{command!r}, '--help']); "
        "heavy = {'tensorflow', 'numpy', 'pydicom', 'SimpleITK', 'nibabel'} & set(sys.modules); "
        "sys.exit(code or ' '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert command in done.stdout
