"""How good predictions are: per case, per class, and over a set of cases.

``case`` measures one label map, ``document`` makes ``metrics.json`` of many, ``runner`` goes
through the cases of a data set, ``sources`` finds them and their predictions.
"""

from tfseg.evaluation.case import METRICS, CaseResult, evaluate_case
from tfseg.evaluation.document import (
    COMPARISON_FILE,
    METRICS_FILE,
    CaseRow,
    ClassSummary,
    Comparison,
    Difference,
    Failure,
    Metrics,
    Statistic,
)
from tfseg.evaluation.runner import Evaluation, Outcome
from tfseg.evaluation.sources import is_run, open_evaluation
from tfseg.evaluation.summary import describe, summarise
from tfseg.evaluation.tables import CASES_FILE, SUMMARY_FILE, save_comparison, save_metrics

__all__ = [
    "CASES_FILE",
    "COMPARISON_FILE",
    "METRICS",
    "METRICS_FILE",
    "SUMMARY_FILE",
    "CaseResult",
    "CaseRow",
    "ClassSummary",
    "Comparison",
    "Difference",
    "Evaluation",
    "Failure",
    "Metrics",
    "Outcome",
    "Statistic",
    "describe",
    "evaluate_case",
    "is_run",
    "open_evaluation",
    "save_comparison",
    "save_metrics",
    "summarise",
]
