"""Windows without structure: rounding is forgiven as far as the network itself passes it on."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tfseg_export import parity

FLAT = np.full((1, 4, 4, 1), -1, np.float32)
TEXTURED = np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 4, 4, 1)


def _network(slope: float) -> Callable[[np.ndarray], np.ndarray]:
    """Probabilities 0.5 +- slope * (x + 1), within 0 and 1."""

    def answer(x: np.ndarray) -> np.ndarray:
        first = np.clip(0.5 + slope * (x + 1), 0, 1)
        return np.concatenate([first, 1 - first], -1)

    return answer


def _report(slope: float, off: float, *, windows: np.ndarray, flat: bool) -> dict[str, Any]:
    """The report on an artifact whose first class is ``off`` above the network's."""
    network = _network(slope)
    records = parity.compare_windows(
        SimpleNamespace(reference=network, backend=network),  # type: ignore[arg-type]
        lambda x: network(x) + np.float32([off, -off]),
        parity.Windows(
            (parity.Batch("textured", TEXTURED), parity.Batch("other", windows, flat)), "none"
        ),
        parity.GATES["fp32"],
    )
    records[0]["max_abs"] = 0.0  # it is the other that is asked about
    return parity.report(
        windows=records, precision="fp32", runtime="", statement="", training_window=""
    )


@pytest.mark.parametrize(
    ("slope", "off", "passes"),
    [
        (1.0, 0.04, True),  # within the limit of flat windows
        (1.0, 0.06, False),  # the network moves by 1e-6 when its input is off by 1e-6
        (1e4, 0.06, True),  # it moves by about 1e-2: ten times that is forgiven
        (1e4, 0.2, False),
    ],
)
def test_flat_windows(slope: float, off: float, passes: bool) -> None:
    document = _report(slope, off, windows=FLAT, flat=True)
    assert document["passed"] is passes, document["verdict"]
    assert ("max_abs_shaken" in document["windows"][1]) == (off > 0.05)


def test_structure_is_forgiven_nothing() -> None:
    document = _report(1e4, 6e-4, windows=TEXTURED, flat=False)
    assert document["passed"] is False
    assert "probabilities of windows differ by 0.0006, allowed is 0.0005" in document["verdict"]


def test_the_worst_is_the_one_furthest_beyond_its_own_limit() -> None:
    gate = parity.GATES["fp32"]
    common = {"flat": True, "label_agreement_decided": 1.0, "label_agreement": 1.0, "dice": 1.0}
    windows = [
        {**common, "flat": False, "max_abs": 0.0, "mean_abs": 0.0},
        {**common, "max_abs": 0.3, "max_abs_shaken": 0.1},
        {**common, "max_abs": 0.07, "max_abs_shaken": 0.001},
    ]
    document = parity.report(
        windows=windows, precision="fp32", runtime="", statement="", training_window=""
    )
    assert document["verdict"] == (
        f"probabilities of flat windows differ by 0.07, allowed is {gate.max_abs_flat:g}"
    )
