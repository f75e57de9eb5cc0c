"""What a person looks at: pictures of label maps, curves, the pages of a run and an evaluation.

``page`` and ``evaluation`` choose what a page says, the ``.html`` templates beside them how it
looks, ``render`` joins the two. ``panels`` chooses the plots, ``plots`` and ``svg`` draw them.
"""

from tfseg.report.curves import History, curves_png
from tfseg.report.evaluation import EVALUATION_FILE, write_evaluation
from tfseg.report.overlay import overlay_png
from tfseg.report.page import PICTURES_FOLDER, REPORT_FILE, write_report

__all__ = [
    "EVALUATION_FILE",
    "PICTURES_FOLDER",
    "REPORT_FILE",
    "History",
    "curves_png",
    "overlay_png",
    "write_evaluation",
    "write_report",
]
