"""The learning rate and the end of a run, by hand."""

from __future__ import annotations

import pytest

from tfseg.training.progress import format_seconds
from tfseg.training.schedule import poly_rate, run_progress, time_is_up


def test_rate_falls_from_initial_to_zero() -> None:
    assert poly_rate(0.01, 0.0) == 0.01
    assert poly_rate(0.01, 0.5) == pytest.approx(0.01 * 0.5358867312681466)  # 0.5 ** 0.9
    assert poly_rate(0.01, 1.0) == 0.0


@pytest.mark.parametrize(
    ("epoch", "elapsed_s", "budget_s", "expected"),
    [
        (5, 0.0, None, 0.05),
        (5, 30.0, 60.0, 0.5),  # time is further than epochs
        (50, 3.0, 60.0, 0.5),  # epochs are further than time
        (5, 90.0, 60.0, 1.0),  # never beyond the end
    ],
)
def test_progress_is_the_further_of_epochs_and_time(
    epoch: int, elapsed_s: float, budget_s: float | None, expected: float
) -> None:
    assert run_progress(epoch, 100, elapsed_s, budget_s) == pytest.approx(expected)


def test_an_epoch_starts_while_at_least_half_of_it_fits() -> None:
    assert not time_is_up(50, 19, 60)
    assert time_is_up(50, 20, 60)
    assert not time_is_up(1e9, 1e9, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (44.6, "45s"), (60, "1m00s"), (725, "12m05s"), (3600, "1h00m"), (11_220, "3h07m")],
)
def test_time_left_is_short_to_read(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
