"""From a data set to a plan: look at the data once, then decide by rule."""

from tfseg.planning.fingerprint import Fingerprint, take_fingerprint
from tfseg.planning.plan_for import Planned, Request, plan_for
from tfseg.planning.planner import Budget, fit_patch, make_plan, network_options
from tfseg.planning.steps import parse_steps, with_steps

__all__ = [
    "Budget",
    "Fingerprint",
    "Planned",
    "Request",
    "fit_patch",
    "make_plan",
    "network_options",
    "parse_steps",
    "plan_for",
    "take_fingerprint",
    "with_steps",
]
