"""tfseg: medical image segmentation in TensorFlow, from the scan to a served model.

Importing this package imports no TensorFlow; the parts that need it import it themselves.
"""

__version__ = "0.1.0"
