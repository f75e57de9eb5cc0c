"""How the learning rate falls and when to stop. Pure functions."""

from __future__ import annotations

_POWER = 0.9  # of the polynomial (Chen et al. 2016, arXiv:1606.00915; nnU-Net)


def poly_rate(initial: float, progress: float) -> float:
    """Return ``initial * (1 - progress)^0.9``; progress in [0, 1] of the run."""
    return float(initial * max(0.0, 1.0 - progress) ** _POWER)


def run_progress(epoch: float, epochs: int, elapsed_s: float, time_budget_s: float | None) -> float:
    """Return the finished share of a run, the larger of epochs' and time's, in [0, 1]."""
    by_time = elapsed_s / time_budget_s if time_budget_s else 0.0
    return min(1.0, max(epoch / epochs, by_time))


def time_is_up(elapsed_s: float, epoch_s: float, time_budget_s: float | None) -> bool:
    """Tell whether another epoch of ``epoch_s`` seconds would overrun the budget by half."""
    return time_budget_s is not None and elapsed_s + epoch_s / 2 >= time_budget_s
