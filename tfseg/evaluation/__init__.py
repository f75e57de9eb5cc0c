"""How good predictions are: per case, per class, and over a set of cases.

``case`` measures one label map, ``document`` makes ``metrics.json`` of many, ``runner`` goes
through the cases of a data set, ``sources`` finds them and their predictions.
"""

from tfseg.evaluation.case import METRICS, CaseResult, evaluate_case
from tfseg.evaluation.document import (
    CASES_FILE,
    METRICS_FILE,
    CaseRow,
    ClassSummary,
    Failure,
    Metrics,
    Statistic,
    save_metrics,
    summarise,
)
from tfseg.evaluation.runner import Evaluation, Outcome
from tfseg.evaluation.sources import is_run, open_evaluation

__all__ = [
    "CASES_FILE",
    "METRICS",
    "METRICS_FILE",
    "CaseResult",
    "CaseRow",
    "ClassSummary",
    "Evaluation",
    "Failure",
    "Metrics",
    "Outcome",
    "Statistic",
    "evaluate_case",
    "is_run",
    "open_evaluation",
    "save_metrics",
    "summarise",
]
