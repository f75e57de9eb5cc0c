"""How the learning rate changes over a run. Pure functions of the run's finished share."""

from __future__ import annotations

import math

_POWER = 0.9  # of the polynomial (Chen et al. 2016, arXiv:1606.00915; nnU-Net)


def rate_factor(schedule: str, done: float, warmup: float = 0.0) -> float:
    """Return what the initial learning rate is multiplied by.

    Args:
        schedule: ``poly`` falls as (1 - x)^0.9, ``cosine`` as (1 + cos(pi x)) / 2 (Loshchilov,
            Hutter 2016, arXiv:1608.03983), ``constant`` not at all.
        done: finished share of the run, in [0, 1].
        warmup: share of the run at its start in which the rate rises linearly from 0; the
            schedule covers the rest.
    """
    if done < warmup:
        return done / warmup
    rest = min(1.0, max(0.0, (done - warmup) / (1.0 - warmup)))
    if schedule == "poly":
        return float((1.0 - rest) ** _POWER)
    if schedule == "cosine":
        return (1.0 + math.cos(math.pi * rest)) / 2
    return 1.0
