"""What a person looks at: pictures of label maps, training curves, the report of a run."""

from tfseg.report.curves import History, curves_png
from tfseg.report.overlay import overlay_png
from tfseg.report.page import PICTURES_FOLDER, REPORT_FILE, write_report

__all__ = [
    "PICTURES_FOLDER",
    "REPORT_FILE",
    "History",
    "curves_png",
    "overlay_png",
    "write_report",
]
