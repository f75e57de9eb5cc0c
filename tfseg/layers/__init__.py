"""Building blocks of the networks, each for 2D and 3D from one source.

Blocks are functions on Keras tensors; a layer class stands only where there is state or where
the graph needs shapes that are known at run time. Channels come last everywhere.
"""

from tfseg.layers.aspp import aspp
from tfseg.layers.attention import attention_gate, squeeze_excite
from tfseg.layers.bilinear import CropAt, LinearKernel, LinearScale, linear_deconv
from tfseg.layers.box import SoftBox
from tfseg.layers.conv import activate, conv, conv_norm_act, downsample, transposed_conv
from tfseg.layers.dense import dense_block, norm_act_conv
from tfseg.layers.detection import (
    ByBox,
    Detections,
    ForegroundMasks,
    OwnMask,
    PasteDetections,
    Proposals,
)
from tfseg.layers.gated import ConcatElu, gated_residual
from tfseg.layers.latent import AutoencoderLoss, GaussianSample
from tfseg.layers.margin import MirrorMargin, ZeroMargin
from tfseg.layers.nonlocal_attention import GlobalAttention, global_aggregation
from tfseg.layers.norm import InstanceNormalization, normalise
from tfseg.layers.pooling import AdaptiveAveragePooling, AdaptiveMaxPooling, pyramid_pooling
from tfseg.layers.region import BoxCut, CentreCut, PasteLogits, RegionGate, region_weight
from tfseg.layers.residual import basic_block, bottleneck_block
from tfseg.layers.resize import CropLike, LinearResize, crop_and_concat, resize_like
from tfseg.layers.roi_align import RoiAlign
from tfseg.layers.separable import DepthwiseConv3D, depthwise_conv, separable_conv
from tfseg.layers.shape import rank_of, spatial_shape
from tfseg.layers.slices import SliceStacks, SlicesToVolume
from tfseg.layers.units import double_conv, residual_unit
from tfseg.layers.unpool import MaxPoolWithMask, MaxUnpool
from tfseg.layers.upsample import nearest_upsample
from tfseg.layers.views import FuseLogits
from tfseg.quiet import settle_keras

__all__ = [
    "AdaptiveAveragePooling",
    "AdaptiveMaxPooling",
    "AutoencoderLoss",
    "BoxCut",
    "ByBox",
    "CentreCut",
    "ConcatElu",
    "CropAt",
    "CropLike",
    "DepthwiseConv3D",
    "Detections",
    "ForegroundMasks",
    "FuseLogits",
    "GaussianSample",
    "GlobalAttention",
    "InstanceNormalization",
    "LinearKernel",
    "LinearResize",
    "LinearScale",
    "MaxPoolWithMask",
    "MaxUnpool",
    "MirrorMargin",
    "OwnMask",
    "PasteDetections",
    "PasteLogits",
    "Proposals",
    "RegionGate",
    "RoiAlign",
    "SliceStacks",
    "SlicesToVolume",
    "SoftBox",
    "ZeroMargin",
    "activate",
    "aspp",
    "attention_gate",
    "basic_block",
    "bottleneck_block",
    "conv",
    "conv_norm_act",
    "crop_and_concat",
    "dense_block",
    "depthwise_conv",
    "double_conv",
    "downsample",
    "gated_residual",
    "global_aggregation",
    "linear_deconv",
    "nearest_upsample",
    "norm_act_conv",
    "normalise",
    "pyramid_pooling",
    "rank_of",
    "region_weight",
    "residual_unit",
    "resize_like",
    "separable_conv",
    "spatial_shape",
    "squeeze_excite",
    "transposed_conv",
]

settle_keras()
