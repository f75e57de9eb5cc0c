"""The losses by name. One explicit list; importing it imports no TensorFlow."""

from __future__ import annotations

from tfseg.errors import unknown_name
from tfseg.losses.info import LossInfo
from tfseg.losses.registry_images import ADVERSARIAL, REGRESSION

__all__ = ["LOSSES", "LossInfo", "loss_info"]

_VOXELWISE = (
    LossInfo(
        name="ce",
        category="weighting",
        module="tfseg.losses.cross_entropy",
        signature="ce()",
        formula="-1/N sum_c p_c log q_c",
        paper="information theory; Shannon 1948",
        aliases=("cross_entropy",),
    ),
    LossInfo(
        name="bce",
        category="weighting",
        module="tfseg.losses.cross_entropy",
        signature="bce()",
        formula="-1/(N k) sum_c p_c log q_c + (1-p_c) log(1-q_c)",
        paper="information theory; Shannon 1948",
        aliases=("binary_cross_entropy",),
    ),
    LossInfo(
        name="wce",
        category="weighting",
        module="tfseg.losses.cross_entropy",
        signature="wce(beta=1.0)",
        formula="-1/N sum beta p log q + (1-p) log(1-q)",
        paper="Ronneberger et al. 2015, arXiv:1505.04597",
        aliases=("weighted_cross_entropy",),
    ),
    LossInfo(
        name="balanced_ce",
        category="weighting",
        module="tfseg.losses.balanced",
        signature="balanced_ce(beta=None, clamp=0.0)",
        formula="-1/N sum beta p log q + (1-beta) (1-p) log(1-q), beta = |Y-|/|Y|",
        paper="Xie & Tu 2015, arXiv:1504.06375",
    ),
    LossInfo(
        name="median_freq_ce",
        category="weighting",
        module="tfseg.losses.balanced",
        signature="median_freq_ce(frequencies=None)",
        frequencies="within",
        formula="-1/N sum_c w_c p_c log q_c, w_c = median(freq) / freq(c)",
        paper="Badrinarayanan et al. 2015, arXiv:1511.00561",
    ),
    LossInfo(
        name="dynamic_class_ce",
        category="weighting",
        module="tfseg.losses.balanced",
        signature="dynamic_class_ce(frequencies=None, background_limit=1.0)",
        frequencies="share",
        formula="-1/N sum_c w_c p_c log q_c, w_c = min(freq) / freq(c)",
        paper="Taha et al. 2018, arXiv:1806.06769",
    ),
    LossInfo(
        name="unet_weighted_ce",
        category="weighting",
        module="tfseg.losses.borders",
        signature="unet_weighted_ce(w0=10.0, sigma=5.0, balance=False, seed_literal=False)",
        formula="-1/N sum w log q, w = w_c + w0 exp(-(d1+d2)^2 / (2 sigma^2))",
        paper="Ronneberger et al. 2015, arXiv:1505.04597",
        needs=("map",),
        map_maker="tfseg.losses.maps:unet_weight_map",
    ),
    LossInfo(
        name="edge_weighted_ce",
        category="weighting",
        module="tfseg.losses.borders",
        signature="edge_weighted_ce(extra=1.0, width=2)",
        formula="-1/N sum (1 + extra [near an edge of p]) log q",
        paper="Wang et al., edge-aware fully convolutional network",
    ),
    LossInfo(
        name="focal",
        category="weighting",
        module="tfseg.losses.focal",
        signature="focal(alpha=0.25, gamma=2.0)",
        formula="-1/N sum a (1-q)^g p log q + (1-a) q^g (1-p) log(1-q)",
        paper="Lin et al. 2017, arXiv:1708.02002",
        aliases=("focal_loss",),
    ),
    LossInfo(
        name="ghm",
        category="weighting",
        module="tfseg.losses.focal",
        signature="ghm(bins=30)",
        formula="1/N sum N/(R M) ce, R voxels in the bin of |q-p| among M bins",
        paper="Li et al. 2019, arXiv:1811.05181",
    ),
    LossInfo(
        name="conservative",
        category="weighting",
        module="tfseg.losses.focal",
        signature="conservative(weight=5.0, base=2.718281828459045, variant='abs')",
        formula="w (1 + log_a q)^2 |log_a(-log_a q)|, q of the true class",
        paper="Zhu et al. 2018, arXiv:1809.00903",
    ),
)

_OVERLAP = (
    LossInfo(
        name="dice",
        category="overlap",
        module="tfseg.losses.overlap",
        signature="dice(smooth=1.0, form='l1')",
        formula="1 - (2<p,q> + s) / (|p| + |q| + s)",
        paper="Drozdzal et al. 2016, arXiv:1608.04117; Milletari et al. 2016, arXiv:1606.04797",
        aliases=("dice_loss",),
    ),
    LossInfo(
        name="generalised_dice",
        category="overlap",
        module="tfseg.losses.overlap",
        signature="generalised_dice(smooth=1.0)",
        formula="1 - (2 sum_c w_c <p,q>_c + s) / (sum_c w_c (|p|_c + |q|_c) + s), w_c = 1/|p|_c^2",
        paper="Sudre et al. 2017, arXiv:1707.03237",
        aliases=("gdl", "generalized_dice"),
    ),
    LossInfo(
        name="iou",
        category="overlap",
        module="tfseg.losses.overlap",
        signature="iou(smooth=1.0)",
        formula="1 - (<p,q> + s) / (|p| + |q| - <p,q> + s)",
        paper="Rahman & Wang 2016, doi:10.1007/978-3-319-50835-1_22",
        aliases=("iou_loss", "jaccard"),
    ),
    LossInfo(
        name="tversky",
        category="overlap",
        module="tfseg.losses.overlap",
        signature="tversky(alpha=0.3, beta=0.7, smooth=1.0, seed_literal=False)",
        formula="1 - T, T = (<p,q> + s) / (<p,q> + alpha <1-p,q> + beta <p,1-q> + s)",
        paper="Salehi et al. 2017, arXiv:1706.05721",
        aliases=("tversky_loss",),
    ),
    LossInfo(
        name="focal_tversky",
        category="overlap",
        module="tfseg.losses.overlap",
        signature="focal_tversky(alpha=0.3, beta=0.7, gamma=1.3333333333333333, smooth=1.0)",
        formula="(1 - T)^(1/gamma), T of tversky",
        paper="Abraham & Khan 2018, arXiv:1810.07842",
    ),
    LossInfo(
        name="attention_dice",
        category="overlap",
        module="tfseg.losses.overlap",
        signature="attention_dice(beta=2.0, smooth=1.0)",
        formula="(1 - D)^beta (1 - D), D the mean Dice score of the sample",
        paper="Nie et al. 2018, ASDNet, MICCAI",
    ),
    LossInfo(
        name="combo",
        category="overlap",
        module="tfseg.losses.compound",
        signature="combo(alpha=0.5, beta=0.5, smooth=1.0, class_sum=False, dice_as_loss=False)",
        formula="-a/N sum(b p log q + (1-b) (1-p) log(1-q)) - (1-a) D, D the Dice score",
        paper="Taghanaki et al. 2018, arXiv:1805.02798",
    ),
    LossInfo(
        name="exp_log",
        category="overlap",
        module="tfseg.losses.compound",
        signature=(
            "exp_log(dice_weight=0.8, ce_weight=0.2, gamma_dice=0.3, gamma_ce=0.3, smooth=1.0, "
            "frequencies=None)"
        ),
        frequencies="share",
        formula=(
            "w_D mean_c (-log D_c)^g_D + w_C mean_x v_l (-log q_l)^g_C, v_l = sqrt(sum_c f_c / f_l)"
        ),
        paper="Wong et al. 2018, arXiv:1809.00076",
        aliases=("exponential_logarithmic",),
    ),
    LossInfo(
        name="deep_supervision_sum",
        category="regularising",
        module="tfseg.losses.compound",
        signature="deep_supervision_sum(values, weights)",
        formula="sum_i w_i L_i / sum_i w_i over a network's outputs i",
        paper="Lee et al. 2015, arXiv:1409.5185",
        kind="term",
    ),
)

_REGULARISING = (
    LossInfo(
        name="sobel_edge",
        category="regularising",
        module="tfseg.losses.borders",
        signature="sobel_edge()",
        formula="1/N sum (|Sobel q| - |Sobel p|)^2",
        paper="Xu 2018, arXiv:1812.04914",
    ),
    LossInfo(
        name="star_shape",
        category="regularising",
        module="tfseg.losses.star",
        signature="star_shape()",
        formula="1/N sum_u sum_v B_uv |p_u - q_u| |q_u - q_v|, v on the ray from u to the centre",
        paper="Mirikharaji & Hamarneh 2018, arXiv:1806.08437",
    ),
    LossInfo(
        name="size_constraint",
        category="regularising",
        module="tfseg.losses.constraints",
        signature="size_constraint(bounds=None, tolerance=None, divide_by_size=False)",
        formula="(a - |q|)^2 below a, (|q| - b)^2 above b",
        paper="Kervadec et al. 2019, arXiv:1805.04628",
    ),
    LossInfo(
        name="entropy",
        category="regularising",
        module="tfseg.losses.constraints",
        signature="entropy()",
        formula="-1/N sum_c q_c log q_c",
        paper="Grandvalet & Bengio 2004, NeurIPS 17",
    ),
)


def _by_name(*groups: tuple[LossInfo, ...]) -> dict[str, LossInfo]:
    table: dict[str, LossInfo] = {}
    for info in (info for group in groups for info in group):
        if info.name in table:
            raise ValueError(f"two losses are called {info.name}")
        table[info.name] = info
    return table


LOSSES: dict[str, LossInfo] = _by_name(_VOXELWISE, _OVERLAP, _REGULARISING, REGRESSION, ADVERSARIAL)
_ALIASES = {alias: info.name for info in LOSSES.values() for alias in info.aliases}


def loss_info(name: str) -> LossInfo:
    """Return the entry of a name or alias.

    Raises:
        ConfigError: no such loss; the message lists the nearest names.
    """
    name = _ALIASES.get(name, name)
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]
