"""From raw voxels to network input, and back: numpy in, numpy out, no TensorFlow.

The ``segment`` signature of an exported SavedModel repeats these steps inside the graph; the
exporter's tests hold the two together.
"""

from tfseg.preprocess.normalise import normalise
from tfseg.preprocess.prepare import prepare, prepare_label
from tfseg.preprocess.resample import resample_linear, resample_nearest, resampled_shape

__all__ = [
    "normalise",
    "prepare",
    "prepare_label",
    "resample_linear",
    "resample_nearest",
    "resampled_shape",
]
