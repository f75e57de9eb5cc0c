"""Augmented patches of 96^3: tfseg beside TorchIO and batchgeneratorsv2.

    python benchmarks/patches.py [--repeats 5] [--patches 32] [--cases torchio,...]
                                 [--peers-python PATH]

* torchio: every operation that TorchIO and tfseg share, on every patch: mirroring, rotation,
  scaling, elastic deformation, bias field, noise, blur, lower resolution, gamma;
* affine: the same without elastic deformation, which takes most of TorchIO's time;
* batchgeneratorsv2: as the first, with contrast, brightness and inverted gamma in the place of the
  bias field;
* nnunet: nnU-Net's pipeline with its probabilities, and tfseg's set of that name.

All cut from volumes of 128 x 256 x 256 voxels in memory, with a label map, on one thread. TorchIO
is given patches, in one resampling for affine and elastic; batchgeneratorsv2 wider boxes, as
nnU-Net does, and reads labels by the nearest voxel, as the others do. Each runs in processes of
its own, in turns with the other, ``--repeats`` times: CPU s is the least user and system time of
``--patches`` patches after three to warm up.

The peers need not share tfseg's environment: ``--peers-python`` is the interpreter of one that has
them (``pip install torch torchio batchgeneratorsv2``). A peer that is not installed is named and
left out, and its goal with it. Exit code 1: a goal of those measured was missed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

VOLUMES, SHAPE, EDGE = 4, (128, 256, 256), 96
WIDER = 136  # what nnU-Net cuts for patches that are turned by 30 degrees and scaled

Draw = Callable[[int], object]


@dataclass(frozen=True)
class Case:
    """One comparison: tfseg's CPU time over the peer's may be at most ``goal``."""

    peer: str
    goal: float


CASES = {
    "torchio": Case("torchio", 0.45),
    "affine": Case("torchio", 0.45),
    "batchgeneratorsv2": Case("batchgeneratorsv2", 0.15),
    "nnunet": Case("batchgeneratorsv2", 0.5),
}
_SHARED = ("rotation", "scale", "elastic", "noise", "blur", "low_resolution", "gamma")
_OPERATIONS = {
    "torchio": (*_SHARED, "bias"),
    "affine": (*(name for name in _SHARED if name != "elastic"), "bias"),
    "batchgeneratorsv2": (*_SHARED, "contrast", "brightness", "inverted_gamma"),
}


def volumes() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (image, label) pairs, the same for everybody."""
    rng = np.random.default_rng(0)
    return [
        (
            rng.standard_normal(SHAPE, dtype=np.float32),
            (rng.random(SHAPE, dtype=np.float32) * 3).astype(np.uint8),
        )
        for _ in range(VOLUMES)
    ]


def boxes(edge: int) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Return patch number -> a box of a volume, for the peers; beyond it is 0."""
    everything = volumes()
    out = max(0, edge - SHAPE[0])
    if out:
        everything = [tuple(np.pad(a, ((out, out), (0, 0), (0, 0))) for a in v) for v in everything]

    def cut(index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(index)
        image, label = everything[index % VOLUMES]
        start = [rng.integers(0, have - edge + 1) for have in image.shape]
        where = tuple(slice(s, s + edge) for s in start)
        return image[where], label[where]

    return cut


def by_tfseg(case: str) -> Draw:
    """Return tfseg's patches."""
    from tfseg.augmentation import AugmentationConfig
    from tfseg.pipeline.cache import PreparedCase
    from tfseg.pipeline.patches import PatchSampler
    from tfseg.plan import Channel, Plan, Scale

    plan = Plan(
        dims=3,
        spacing_mm=(1.0, 1.0, 1.0),
        patch_size=(EDGE,) * 3,
        batch_size=2,
        channels=(Channel(name="MR", normalisation=Scale()),),
        labels=("background", "a", "b"),
    )
    if case == "nnunet":
        rule = AugmentationConfig(preset="nnunet")
    else:
        on = dict.fromkeys(_OPERATIONS[case], 1.0)
        rule = AugmentationConfig(preset="none", flip="zyx", **on)
    cases = [PreparedCase(str(i), image[..., None], label, {})
             for i, (image, label) in enumerate(volumes())]  # fmt: skip
    return PatchSampler(cases, plan, rule, 0.0, 0)


def by_torchio(case: str) -> Draw:
    """Return TorchIO's patches."""
    import SimpleITK
    import torch
    import torchio as tio

    torch.manual_seed(0)
    torch.set_num_threads(1)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    affine = {"scales": (0.8, 1.25), "degrees": 30, "isotropic": True}
    elastic = {"num_control_points": 7, "max_displacement": 7.5}
    transform = tio.Compose(
        [
            tio.RandomFlip(axes=(0, 1, 2), flip_probability=0.5),
            tio.RandomAffine(**affine)
            if case == "affine"
            else tio.RandomAffineElasticDeformation(affine_kwargs=affine, elastic_kwargs=elastic),
            tio.RandomBiasField(),
            tio.RandomNoise(std=(0, 0.2)),
            tio.RandomBlur(std=(0.5, 1.0)),
            tio.RandomAnisotropy(axes=(0, 1, 2), downsampling=(1, 2)),
            tio.RandomGamma(),
        ]
    )
    cut = boxes(EDGE)

    def draw(index: int) -> object:
        image, label = cut(index)
        subject = tio.Subject(
            image=tio.ScalarImage(tensor=torch.from_numpy(image[None].copy())),
            label=tio.LabelMap(tensor=torch.from_numpy(label[None].copy())),
        )
        return transform(subject)

    return draw


def by_batchgeneratorsv2(case: str) -> Draw:
    """Return batchgeneratorsv2's patches: all of its operations, or nnU-Net's pipeline."""
    import torch
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    always = case != "nnunet"
    half = 1.0 if always else 0.5

    def at(probability: float, transform: object) -> object:
        return RandomTransform(transform, apply_probability=1.0 if always else probability)

    turn = np.deg2rad(30)
    contrast = BGContrast((0.75, 1.25))
    transform = ComposeTransforms(
        [
            SpatialTransform(
                (EDGE,) * 3, patch_center_dist_from_border=0, random_crop=False,
                p_elastic_deform=float(always), elastic_deform_scale=(0.1, 0.25),
                elastic_deform_magnitude=(0, 10),
                p_rotation=1.0 if always else 0.2, rotation=(-turn, turn),
                p_scaling=1.0 if always else 0.2, scaling=(0.7, 1.4),
                p_synchronize_scaling_across_axes=1, bg_style_seg_sampling=False,
                mode_seg="nearest",
            ),
            at(0.1, GaussianNoiseTransform((0, 0.1), 1, True)),
            at(0.2, GaussianBlurTransform((0.5, 1.0), False, False, half, benchmark=True)),
            at(0.15, MultiplicativeBrightnessTransform(contrast, False, 1)),
            at(0.15, ContrastTransform(contrast, True, False, 1)),
            at(0.25, SimulateLowResolutionTransform((0.5, 1), False, True, None, None, half)),
            at(0.1, GammaTransform(BGContrast((0.7, 1.5)), 1, False, 1, 1)),
            at(0.3, GammaTransform(BGContrast((0.7, 1.5)), 0, False, 1, 1)),
            MirrorTransform((0, 1, 2)),
        ]
    )  # fmt: skip
    cut = boxes(WIDER)

    def draw(index: int) -> object:
        image, label = cut(index)
        return transform(
            image=torch.from_numpy(image[None].copy()),
            segmentation=torch.from_numpy(label[None].astype(np.int16)),
        )

    return draw


CONTENDERS: dict[str, Callable[[str], Draw]] = {
    "tfseg": by_tfseg,
    "torchio": by_torchio,
    "batchgeneratorsv2": by_batchgeneratorsv2,
}


def run_contender(name: str, case: str, patches: int) -> None:
    """Measure one contender in this process; print CPU seconds as JSON, null if not installed."""
    if importlib.util.find_spec(name) is None:
        print("null")
        return
    draw = CONTENDERS[name](case)
    for index in range(3):
        draw(index)
    begin = time.process_time()
    for index in range(patches):
        draw(index)
    print(json.dumps(time.process_time() - begin))


def main() -> int:
    """Run tfseg and each case's peer in turns; print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="processes of each contender")
    parser.add_argument("--patches", type=int, default=32, help="patches that are timed")
    parser.add_argument("--cases", default=",".join(CASES), help="what to compare")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--run", nargs=2, metavar=("NAME", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run_contender(*options.run, options.patches)
        return 0
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, "1"), "PYTHONWARNINGS": "ignore"}
    print(f"{options.patches} patches of {EDGE}^3, one thread")
    print(f"{'case':18} {'peer':18} {'tfseg s':>8} {'peer s':>8} {'ratio':>6} {'goal':>5}")
    missed = False
    for name in options.cases.split(","):
        case = CASES[name]
        found: dict[str, list[float]] = {"tfseg": [], case.peer: []}
        for _ in range(options.repeats):
            for contender, times in found.items():
                python = sys.executable if contender == "tfseg" else options.peers_python
                done = subprocess.run(
                    [python, __file__, "--patches", str(options.patches), "--run", contender, name],
                    stdout=subprocess.PIPE, text=True, check=True, env=environment,
                )  # fmt: skip
                times.append(json.loads(done.stdout.splitlines()[-1]) or 0.0)
            if not times[-1]:
                break
        ours, theirs = min(found["tfseg"]), min(found[case.peer])
        if not theirs:
            print(f"{name:18} {case.peer:18} {ours:8.2f} not installed")
            continue
        ratio = ours / theirs
        missed |= ratio > case.goal
        print(
            f"{name:18} {case.peer:18} {ours:8.2f} {theirs:8.2f} {ratio:6.2f} {case.goal:5.2f}",
            flush=True,
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
