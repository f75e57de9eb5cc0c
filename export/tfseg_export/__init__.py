"""Exports a trained run to formats that run elsewhere, with measured parity.

    export_run(run, format, out, ...) -> Artifact

Importing this package imports no TensorFlow; exporting does.
"""

from tfseg_export.export import Artifact, export_run
from tfseg_export.formats import FORMATS

__all__ = ["FORMATS", "Artifact", "export_run"]
