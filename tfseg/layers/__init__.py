"""Building blocks of the networks, each for 2D and 3D from one source.

Blocks are functions on Keras tensors; a layer class stands only where there is state or where
the graph needs shapes that are known at run time. Channels come last everywhere.
"""

from tfseg.layers.attention import attention_gate, squeeze_excite
from tfseg.layers.conv import activate, conv, conv_norm_act, downsample, transposed_conv
from tfseg.layers.norm import InstanceNormalization, normalise
from tfseg.layers.pooling import AdaptiveAveragePooling, pyramid_pooling
from tfseg.layers.residual import basic_block, bottleneck_block
from tfseg.layers.resize import LinearResize, crop_and_concat, resize_like
from tfseg.layers.separable import DepthwiseConv3D, depthwise_conv, separable_conv
from tfseg.layers.shape import rank_of, spatial_shape
from tfseg.layers.unpool import MaxPoolWithMask, MaxUnpool

__all__ = [
    "AdaptiveAveragePooling",
    "DepthwiseConv3D",
    "InstanceNormalization",
    "LinearResize",
    "MaxPoolWithMask",
    "MaxUnpool",
    "activate",
    "attention_gate",
    "basic_block",
    "bottleneck_block",
    "conv",
    "conv_norm_act",
    "crop_and_concat",
    "depthwise_conv",
    "downsample",
    "normalise",
    "pyramid_pooling",
    "rank_of",
    "resize_like",
    "separable_conv",
    "spatial_shape",
    "squeeze_excite",
    "transposed_conv",
]
