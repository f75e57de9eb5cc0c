"""TensorFlow Addons for Keras 3: its layers, activations and losses under their old names.

TensorFlow Addons 0.23 was its last release and does not import beside Keras 3. Everything here is
registered under its package name, ``Addons``, keeps its arguments, the order of its weights and
its numbers (recorded from the real package in ``tests/goldens/addons``), and so stands in for it
in files: importing this module is enough for ``keras.models.load_model`` to find the names, and
:func:`load_addons_model` reads what needs more than that. Not here: its optimizers (in
``keras.optimizers``), metrics, recurrent cells, text and image functions.

New networks take their blocks from :mod:`tfseg.layers` and their losses from :mod:`tfseg.losses`.
"""

from tfseg.compat.addons.activations import (
    GELU,
    TLU,
    gelu,
    hardshrink,
    lisht,
    mish,
    snake,
    softshrink,
    sparsemax,
    tanhshrink,
)
from tfseg.compat.addons.loading import load_addons_model
from tfseg.compat.addons.losses import GIoULoss, SigmoidFocalCrossEntropy
from tfseg.compat.addons.norm import (
    FilterResponseNormalization,
    GroupNormalization,
    InstanceNormalization,
)
from tfseg.compat.addons.pooling import (
    AdaptiveAveragePooling1D,
    AdaptiveAveragePooling2D,
    AdaptiveAveragePooling3D,
    AdaptiveMaxPooling1D,
    AdaptiveMaxPooling2D,
    AdaptiveMaxPooling3D,
    SpatialPyramidPooling2D,
)
from tfseg.compat.addons.units import Maxout, StochasticDepth
from tfseg.compat.addons.unpooling import (
    MaxPoolingWithArgmax,
    MaxUnpooling2D,
    MaxUnpooling2DV2,
    MaxUnpooling3D,
)
from tfseg.compat.addons.wrappers import SpectralNormalization, WeightNormalization

__all__ = [
    "GELU",
    "TLU",
    "AdaptiveAveragePooling1D",
    "AdaptiveAveragePooling2D",
    "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D",
    "AdaptiveMaxPooling2D",
    "AdaptiveMaxPooling3D",
    "FilterResponseNormalization",
    "GIoULoss",
    "GroupNormalization",
    "InstanceNormalization",
    "MaxPoolingWithArgmax",
    "MaxUnpooling2D",
    "MaxUnpooling2DV2",
    "MaxUnpooling3D",
    "Maxout",
    "SigmoidFocalCrossEntropy",
    "SpatialPyramidPooling2D",
    "SpectralNormalization",
    "StochasticDepth",
    "WeightNormalization",
    "gelu",
    "hardshrink",
    "lisht",
    "load_addons_model",
    "mish",
    "snake",
    "softshrink",
    "sparsemax",
    "tanhshrink",
]
