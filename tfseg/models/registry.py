"""The networks by name. Importing it imports no TensorFlow."""

from __future__ import annotations

from tfseg.errors import ConfigError, unknown_name
from tfseg.models.info import ModelInfo
from tfseg.models.presets import PRESETS
from tfseg.models.registry_backbones import BACKBONES

_HALVING = (1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125)  # deep supervision: each level half the finer

_LONG = "Long et al. 2014, arXiv:1411.4038"
_FCN = (
    ModelInfo(
        "fcn32s", "FCN", "fcn:FCNConfig", _LONG, output_stride=32,
        use="a coarse baseline, and the start of training the finer two",
    ),
    ModelInfo(
        "fcn16s", "FCN", "fcn:FCNConfig", _LONG, output_stride=16,
        use="a baseline of middling resolution, started from fcn32s",
    ),
    ModelInfo(
        "fcn8s", "FCN", "fcn:FCNConfig", _LONG, output_stride=8,
        use="a baseline with a published encoder: fundus images, brain MR, small objects",
    ),
    ModelInfo(
        "tran_fcn", "FCN", "tran_fcn:TranFCNConfig", "Tran 2016, arXiv:1604.00494",
        use="the ventricles in short-axis MR of the heart",
    ),
    ModelInfo(
        "nie_fcn3d", "FCN", "nie_fcn3d:NieFCNConfig",
        "Nie et al. 2016, doi:10.1109/ISBI.2016.7493515",
        use="tissues of the infant brain on T1, T2 and FA",
        ours="widths",
    ),
    ModelInfo(
        "dilated_fcn_ild", "FCN", "dilated_fcn_ild:DilatedFCNConfig",
        "Anthimopoulos et al. 2018, arXiv:1803.06167",
        use="textures of interstitial lung disease, sparsely annotated",
        ours="rates of dilation",
    ),
    ModelInfo(
        "fcn_preproc_resnet", "FCN", "fcn_preproc_resnet:FCNPreprocConfig",
        "Drozdzal et al. 2017, arXiv:1702.05174",
        use="images of unlike intensities: it learns how to normalise them",
        ours="widths",
    ),
)  # fmt: skip

_PYRAMID = (
    ModelInfo(
        "deeplabv1", "pyramid", "deeplabv1:DeepLabV1Config",
        "Chen et al. 2014, arXiv:1412.7062", output_stride=4,
        use="objects that their wide surroundings explain",
    ),
    ModelInfo(
        "deeplabv2", "pyramid", "deeplabv2:DeepLabV2Config",
        "Chen et al. 2016, arXiv:1606.00915", output_stride=4,
        use="objects at several scales",
    ),
    ModelInfo(
        "deeplabv3", "pyramid", "deeplabv3:DeepLabV3Config",
        "Chen et al. 2017, arXiv:1706.05587", output_stride=4, loss_weights=(1.0, 0.5),
        use="objects at several scales, with a summary of the whole image",
    ),
    ModelInfo(
        "deeplabv3plus", "pyramid", "deeplabv3plus:DeepLabV3PlusConfig",
        "Chen et al. 2018, arXiv:1802.02611", output_stride=2,
        use="objects at several scales, with sharper borders",
    ),
    ModelInfo(
        "pspnet", "pyramid", "pspnet:PSPNetConfig",
        "Zhao et al. 2016, arXiv:1612.01105", output_stride=4, loss_weights=(1.0, 0.4),
        use="classes that their place in the image tells apart",
    ),
    ModelInfo(
        "refinenet", "pyramid", "refinenet:RefineNetConfig",
        "Lin et al. 2016, arXiv:1611.06612", output_stride=4,
        use="fine borders from a deep encoder",
    ),
    ModelInfo(
        "acnn", "pyramid", "acnn:ACNNConfig", "Zhou et al. 2019, arXiv:1901.09203",
        use="small objects, at full resolution throughout, with very few parameters",
    ),
    ModelInfo(
        "gcn", "pyramid", "gcn:GCNConfig", "Peng et al. 2017, arXiv:1703.02719",
        use="large organs such as the spleen: kernels as large as they are",
    ),
    ModelInfo(
        "fcn_ppm_3d", "pyramid", "fcn_ppm_3d:FCNPPMConfig",
        "Yang et al. 2018, doi:10.1109/ICPR.2018.8545143",
        use="kidney and renal tumour in CT angiography",
        ours="widths",
    ),
)  # fmt: skip

_UNPOOLING = (
    ModelInfo(
        "segnet", "index unpooling", "segnet:SegNetConfig",
        "Badrinarayanan et al. 2015, arXiv:1511.00561",
        use="little memory: decoders get the places of maxima instead of maps",
    ),
    ModelInfo(
        "segnet_basic", "index unpooling", "segnet:SegNetBasicConfig",
        "Badrinarayanan et al. 2015, arXiv:1511.00561",
        use="a small SegNet, for comparison",
    ),
    ModelInfo(
        "deconvnet", "index unpooling", "deconvnet:DeconvNetConfig",
        "Noh et al. 2015, arXiv:1505.04366",
        use="objects cropped to about one size",
    ),
)  # fmt: skip

_U_SHAPES = (
    ModelInfo(
        "unet", "U-shape", "unet:UNetConfig",
        "Ronneberger et al. 2015, arXiv:1505.04597", loss_weights=_HALVING,
        use="where to start: any organ or lesion, any kind of image, little data",
    ),
)  # fmt: skip

_NOVIKOV = "Novikov et al. 2017, arXiv:1701.08816"
_IBTEHAZ = "Ibtehaz, Rahman 2019, arXiv:1902.04049"
_U_VARIANTS = (
    ModelInfo(
        "res_unet", "U-shape", "res_unet:ResUNetConfig",
        "Xiao et al. 2018, doi:10.1109/ITME.2018.00080",
        use="thin structures such as the vessels of the retina",
        ours="the attention, widths",
    ),
    ModelInfo(
        "multiresunet", "U-shape", "multiresunet:MultiResUNetConfig", _IBTEHAZ,
        use="objects of very different sizes in one image, with ragged or faint borders",
    ),
    ModelInfo(
        "multiresunet3d", "U-shape", "multiresunet:MultiResUNetConfig", _IBTEHAZ, (3,),
        use="MultiResUNet with the authors' widths for volumes",
    ),
    ModelInfo(
        "attention_unet", "U-shape", "attention_unet:AttentionUNetConfig",
        "Oktay et al. 2018, arXiv:1804.03999",
        use="small organs whose place varies, such as the pancreas in CT",
    ),
    ModelInfo(
        "attn_guided_unet", "U-shape", "attn_guided_unet:AttnGuidedUNetConfig",
        "Lian et al. 2018, doi:10.1016/j.jvcir.2018.10.001",
        use="one compact object that a box can hold, such as the iris",
        ours="widths",
    ),
    ModelInfo(
        "attention_dense_unet", "dense U-shape", "attention_dense_unet:AttentionDenseUNetConfig",
        "Li et al. 2019, IEEE Access 7",
        use="masses in mammograms, from a deep encoder",
        ours="the decoder's widths",
    ),
    ModelInfo(
        "use_net", "U-shape", "use_net:USENetConfig", "Rundo et al. 2019, arXiv:1904.08254",
        use="prostate zones in MR, and other data of several hospitals",
        ours="the reduction and the order of normalisation",
    ),
    ModelInfo(
        "inverted_net", "U-shape", "inverted_net:InvertedNetConfig", _NOVIKOV,
        use="lungs, heart and clavicles in radiographs, with few parameters",
        ours="the noise and which pooling is delayed",
    ),
    ModelInfo(
        "all_dropout", "U-shape", "inverted_net:AllDropoutConfig", _NOVIKOV,
        use="radiographs, where overfitting is what limits",
        ours="the noise",
    ),
    ModelInfo(
        "all_convolutional", "U-shape", "inverted_net:AllConvolutionalConfig", _NOVIKOV,
        use="radiographs; a U-Net that learns how to pool",
    ),
    ModelInfo(
        "pixelbnn", "U-shape", "pixelbnn:PixelBNNConfig", "Leopold et al. 2017, arXiv:1712.06742",
        use="vessels of the retina, also across data sets of different cameras",
        ours="widths",
    ),
    ModelInfo(
        "vessel_ds_unet", "U-shape", "vessel_ds_unet:VesselDSUNetConfig",
        "Zhang, Chung 2018, arXiv:1806.02132", loss_weights=(1.0,) * 5,
        use="vessels of the retina, the thick and the thin as classes of their own",
        ours="widths",
    ),
    ModelInfo(
        "lu_net", "U-shape", "lu_net:LUNetConfig", "Zhang et al. 2019, IEEE Access 7",
        use="ventricles and myocardium in cine MR of the heart",
        ours="widths and dilations",
    ),
    ModelInfo(
        "lazy_multitask_unet", "U-shape", "lazy_multitask_unet:LazyMultitaskUNetConfig",
        "Ke et al. 2019, arXiv:1906.12177", loss_weights=(1.0, 1.0, 1.0),
        use="crowded cells, where few images have exact outlines and more have rough ones",
        ours="widths",
    ),
)  # fmt: skip

_DENSE = (
    ModelInfo(
        "fc_densenet56", "dense U-shape", "fc_densenet:FCDenseNet56Config",
        "Jegou et al. 2016, arXiv:1611.09326",
        use="little data: features are reused, so that few parameters suffice",
    ),
    ModelInfo(
        "fc_densenet67", "dense U-shape", "fc_densenet:FCDenseNet67Config",
        "Jegou et al. 2016, arXiv:1611.09326",
        use="as fc_densenet56, with a wider growth",
    ),
    ModelInfo(
        "fc_densenet103", "dense U-shape", "fc_densenet:FCDenseNetConfig",
        "Jegou et al. 2016, arXiv:1611.09326",
        use="as fc_densenet56, at its deepest",
    ),
    ModelInfo(
        "dense_unet3d", "dense U-shape", "dense_unet3d:DenseUNet3DConfig",
        "Kolarik et al. 2019, doi:10.3390/app9030404",
        use="brain and spine in volumes of high resolution",
        ours="widths",
    ),
    ModelInfo(
        "drinet", "dense U-shape", "drinet:DRINetConfig",
        "Chen et al. 2018, doi:10.1109/TMI.2018.2835303",
        use="cerebrospinal fluid in brain CT, abdominal organs, brain tumours",
    ),
    ModelInfo(
        "h_denseunet", "dense U-shape", "h_denseunet:HDenseUNetConfig",
        "Li et al. 2017, arXiv:1709.07330", dims=(3,), loss_weights=(1.0, 0.5, 0.5),
        use="liver and its tumours in CT with thick slices",
        ours="the weights of the outputs, trained at once",
    ),
)  # fmt: skip

_U_SHAPES_3D = (
    ModelInfo(
        "unet3d", "3D U-shape", "unet3d:UNet3DConfig",
        "Cicek et al. 2016, arXiv:1606.06650", dims=(3,),
        use="volumes of which only some slices are annotated, and a 3D baseline",
    ),
    ModelInfo(
        "sulci_unet3d", "3D U-shape", "unet3d:SulciUNet3DConfig",
        "Borne et al. 2020, doi:10.1016/j.media.2020.101651", dims=(3,),
        use="names of the folds of the cortex",
    ),
    ModelInfo(
        "unet3d_ds", "3D U-shape", "unet3d_ds:UNet3DDSConfig",
        "Ye et al. 2019, IEEE Access", dims=(3,), loss_weights=(1.0,) * 7,
        use="the chambers and great vessels of the heart in CT",
        ours="widths and the weights of the outputs",
    ),
    ModelInfo(
        "vnet", "3D U-shape", "vnet:VNetConfig", "Milletari et al. 2016, arXiv:1606.04797",
        use="the prostate in MR, and other single organs in volumes",
    ),
    ModelInfo(
        "segresnet", "3D U-shape", "segresnet:SegResNetConfig", "Myronenko 2018, arXiv:1810.11654",
        use="brain tumours in MR of several sequences",
    ),
    ModelInfo(
        "segresnet_vae", "3D U-shape", "segresnet_vae:SegResNetVAEConfig",
        "Myronenko 2018, arXiv:1810.11654", loss_weights=(1.0, 0.1),
        use="brain tumours in MR with few annotated cases: it also learns to rebuild the image",
        ours="channels of the code's map",
    ),
    ModelInfo(
        "nonlocal_unet", "3D U-shape", "nonlocal_unet:NonlocalUNetConfig",
        "Wang et al. 2018, arXiv:1812.04103",
        use="tissues of the infant brain: a shallow network that sees the whole patch",
    ),
    ModelInfo(
        "kidnet", "3D U-shape", "kidnet:KidNetConfig",
        "Taha et al. 2018, arXiv:1806.06769", loss_weights=_HALVING,
        use="the kidney's vessels and collecting system: classes of very different volume",
        ours="widths and the weights of the outputs",
    ),
    ModelInfo(
        "fracnet", "3D U-shape", "fracnet:FracNetConfig",
        "Jin et al. 2020, doi:10.1016/j.ebiom.2020.103106",
        use="rib fractures in CT: small findings in a large volume",
    ),
)  # fmt: skip

_SLICEWISE = (
    ModelInfo(
        "fcn_2p5d", "2.5D", "fcn_2p5d:FCN2p5DConfig",
        "Zhou et al. 2017, doi:10.1002/mp.12480", (3,),
        output_stride=8, loss_weights=(1.0, 1.0, 1.0, 1.0),
        use="many organs in CT, by a vote of networks that each see one direction",
    ),
    ModelInfo(
        "han_dcnn25d", "2.5D", "han_dcnn25d:HanDCNNConfig", "Han 2017, arXiv:1704.07239", (3,),
        loss_weights=(1.0, 1.0, 1.0),
        use="liver and its lesions in CT with thick slices, by 2D networks that see five of them",
        ours="widths, the soft border of the mask",
    ),
)  # fmt: skip

_CASCADES = (
    ModelInfo(
        "autocontext", "cascade", "autocontext:AutocontextConfig",
        "Tu, Bai 2010, doi:10.1109/TPAMI.2009.186", loss_weights=(1.0,) * 8,
        use="any network twice or more, the later ones seeing what the earlier said",
        ours="networks and number of stages",
    ),
    ModelInfo(
        "cascaded_vnet", "cascade", "cascaded_vnet:CascadedVNetConfig",
        "Casamitjana et al. 2017, arXiv:1812.11588", loss_weights=(1.0, 1.0),
        use="parts of a region, such as of a brain tumour, that lie nowhere else",
        ours="depths and widths",
    ),
    ModelInfo(
        "cfcn", "cascade", "cfcn:CFCNConfig",
        "Christ et al. 2016, arXiv:1610.02177", loss_weights=(1.0, 1.0, 1.0),
        use="an organ and the lesions in it: label 1, and labels 2 and up",
        ours="the soft border of the mask",
    ),
    ModelInfo(
        "unet3d_two_stage", "cascade", "unet3d_two_stage:UNet3DTwoStageConfig",
        "Xia et al. 2018, doi:10.1007/978-3-030-12029-0_37", loss_weights=(1.0, 1.0),
        use="one compact organ in a large volume, such as the left atrium",
        ours="widths",
    ),
    ModelInfo(
        "detect_then_segment", "cascade", "detect_then_segment:DetectThenSegmentConfig",
        "after Ke et al. 2019, arXiv:1906.12177", loss_weights=(1.0, 1.0),
        use="small objects that a box holds, magnified for the second network",
        ours="the recipe",
    ),
)  # fmt: skip

_DETECTORS = (
    ModelInfo(
        "faster_rcnn", "detection", "rcnn:FasterRCNNConfig",
        "Ren et al. 2015, arXiv:1506.01497", output_stride=4,
        use="separate objects of which boxes are enough",
    ),
    ModelInfo(
        "mask_rcnn", "detection", "rcnn:MaskRCNNConfig",
        "He et al. 2017, arXiv:1703.06870", output_stride=4,
        use="separate objects that are to be told apart and counted",
    ),
    ModelInfo(
        "cfun", "detection", "cfun:CFUNConfig", "Xu et al. 2018, arXiv:1812.04914", (3,), 16,
        use="the chambers of the heart, found as one and divided by a U-Net in the box",
        ours="numbers of proposals",
    ),
)  # fmt: skip


def _by_name(*groups: tuple[ModelInfo, ...]) -> dict[str, ModelInfo]:
    table: dict[str, ModelInfo] = {}
    for info in (info for group in groups for info in group):
        if info.name in table:
            raise ValueError(f"two networks are called {info.name}")
        table[info.name] = info
    return table


MODELS: dict[str, ModelInfo] = _by_name(
    _U_SHAPES,
    _U_VARIANTS,
    _DENSE,
    _U_SHAPES_3D,
    _FCN,
    _PYRAMID,
    _UNPOOLING,
    _SLICEWISE,
    _CASCADES,
    _DETECTORS,
    BACKBONES,
)


def model_info(name: str) -> ModelInfo:
    """Return the entry of a network, or of the network that a preset is a use of.

    Raises:
        ConfigError: no such network; the message lists the nearest names.
    """
    if name in PRESETS:
        name = PRESETS[name].model
    if name not in MODELS:
        raise unknown_name("model", name, [*MODELS, *PRESETS])
    return MODELS[name]


def segmentation_info(name: str) -> ModelInfo:
    """Return the entry of a network that can be trained to segment.

    Raises:
        ConfigError: no such network, or a backbone.
    """
    info = model_info(name)
    if info.kind != "segmentation":
        raise ConfigError(
            f"the model must be a segmentation network; got {name!r}, a backbone, which classifies "
            "whole images. Use a backbone in a network: --model pspnet --set backbone=resnet50."
        )
    return info
