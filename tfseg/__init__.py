"""tfseg: medical image segmentation in TensorFlow, from the scan to a served model.

Importing this package imports no TensorFlow; the parts that need it import it themselves.
"""

import os

__version__ = "0.1.0"

# Keras reads it when it is imported; the networks and their exports need TensorFlow, whatever
# the user's other programs run on.
os.environ["KERAS_BACKEND"] = "tensorflow"
# Else ONNX Runtime (1.32 and later) reports every session to its maker, from a hospital too.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
