"""Building blocks of the networks, each for 2D and 3D from one source.

Blocks are functions on Keras tensors; a layer class stands only where there is state or where
the graph needs shapes that are known at run time. Channels come last everywhere.
"""

from tfseg.layers.conv import conv, conv_norm_act, downsample, transposed_conv
from tfseg.layers.norm import InstanceNormalization, normalise
from tfseg.layers.pooling import AdaptiveAveragePooling, pyramid_pooling
from tfseg.layers.residual import residual_trunk
from tfseg.layers.resize import LinearResize, crop_and_concat, resize_like
from tfseg.layers.shape import rank_of, spatial_shape

__all__ = [
    "AdaptiveAveragePooling",
    "InstanceNormalization",
    "LinearResize",
    "conv",
    "conv_norm_act",
    "crop_and_concat",
    "downsample",
    "normalise",
    "pyramid_pooling",
    "rank_of",
    "residual_trunk",
    "resize_like",
    "spatial_shape",
    "transposed_conv",
]
