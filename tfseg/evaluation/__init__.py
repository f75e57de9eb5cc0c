"""How good predictions are: per case, per class, and over a set of cases.

``measures`` is what to measure, ``case`` measures one label map, ``runner`` goes through the
cases of a data set, ``sources`` finds them and their predictions, ``summary`` makes figures of
many cases, ``compare`` sets two evaluations side by side, ``document`` and ``tables`` are what
is written.
"""

from tfseg.evaluation.case import CaseResult, evaluate_case
from tfseg.evaluation.compare import check_cases, check_rules, compare
from tfseg.evaluation.document import (
    COMPARISON_FILE,
    METRICS_FILE,
    VOLUMES,
    CaseRow,
    ClassSummary,
    Comparison,
    Difference,
    Failure,
    Metrics,
    Statistic,
)
from tfseg.evaluation.measures import DEFAULT_METRICS, Measures, choose
from tfseg.evaluation.runner import Evaluation, Outcome
from tfseg.evaluation.sources import open_evaluation
from tfseg.evaluation.summary import describe, summarise
from tfseg.evaluation.tables import CASES_FILE, SUMMARY_FILE, save_comparison, save_metrics

__all__ = [
    "CASES_FILE",
    "COMPARISON_FILE",
    "DEFAULT_METRICS",
    "METRICS_FILE",
    "SUMMARY_FILE",
    "VOLUMES",
    "CaseResult",
    "CaseRow",
    "ClassSummary",
    "Comparison",
    "Difference",
    "Evaluation",
    "Failure",
    "Measures",
    "Metrics",
    "Outcome",
    "Statistic",
    "check_cases",
    "check_rules",
    "choose",
    "compare",
    "describe",
    "evaluate_case",
    "open_evaluation",
    "save_comparison",
    "save_metrics",
    "summarise",
]
