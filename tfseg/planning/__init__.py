"""From a data set to a plan: look at the data once, then decide by rule."""

from tfseg.planning.fingerprint import Fingerprint, take_fingerprint
from tfseg.planning.planner import Budget, fit_patch, make_plan, network_options

__all__ = [
    "Budget",
    "Fingerprint",
    "fit_patch",
    "make_plan",
    "network_options",
    "take_fingerprint",
]
