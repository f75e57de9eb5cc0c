"""Rules from fingerprint to plan, by hand and for random volumes."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.datasets.base import Dataset
from tfseg.errors import ConfigError
from tfseg.models import build, model_config
from tfseg.plan import Channel, ClipZScore, Plan, Scale, ZScore
from tfseg.planning import Budget, Fingerprint, fit_patch, make_plan, network_options

DATASET = Dataset(
    name="Tiny",
    adapter="msd",
    root=None,
    dims=3,
    modalities=("CT",),
    labels=("background", "organ"),
    cases=(),
    read_image=None,
    read_label=None,
)


def fingerprint(shapes, spacings, foreground=((0.0,), (100.0,))):
    images = None  # which the planner does not ask for
    return Fingerprint(np.array(shapes), np.array(spacings, float), np.array(foreground), images)


def test_spacing_is_the_median():
    data = fingerprint([(40, 40, 40)] * 3, [(2, 1, 1), (2.5, 0.8, 0.9), (1, 0.9, 1.2)])
    assert make_plan(DATASET, data, Budget.cpu(), 3).spacing_mm == (2, 0.9, 1)


def test_thick_slices_are_not_averaged_away():
    """8 mm is more than three times 1 mm: the 10th percentile of 5, 8, 9 is 5 + 0.2 * 3."""
    data = fingerprint([(20, 90, 90)] * 3, [(8, 1, 1), (9, 1, 1), (5, 1, 1)])
    assert make_plan(DATASET, data, Budget.cpu(), 3).spacing_mm == (5.6, 1, 1)
    three_times = fingerprint([(20, 90, 90)] * 3, [(3, 1, 1), (3, 1, 1), (1, 1, 1)])
    assert make_plan(DATASET, three_times, Budget.cpu(), 3).spacing_mm == (3, 1, 1)


def test_a_microscope_has_a_spacing_too():
    data = fingerprint([(40, 40, 40)], [(4e-5, 8e-6, 8e-6)])
    assert make_plan(DATASET, data, Budget.cpu(), 3).spacing_mm == (4e-5, 8e-6, 8e-6)


def test_ct_is_normalised_by_its_foreground():
    values = np.arange(1001.0)
    data = fingerprint([(8, 8, 8)], [(1, 1, 1)], values[:, np.newaxis])
    (channel,) = make_plan(DATASET, data, Budget.cpu(), 3).channels
    assert channel.unit == "HU"
    # 0.5 % and 99.5 % of 0..1000; the variance of 0..n is n (n + 2) / 12.
    rule = channel.normalisation
    assert isinstance(rule, ClipZScore)
    assert (rule.low, rule.high, rule.mean) == (5, 995, 500)
    assert rule.std == pytest.approx(np.sqrt(1000 * 1002 / 12))


def test_a_constant_foreground_still_makes_a_plan():
    data = fingerprint([(8, 8, 8)], [(1, 1, 1)], [[50.0]] * 9)
    rule = make_plan(DATASET, data, Budget.cpu(), 3).channels[0].normalisation
    assert rule.low == 50
    assert rule.high > 50
    assert rule.std > 0


@pytest.mark.parametrize("modality", ["MRI", "FLAIR", "T1", "RGB"])
def test_all_else_by_each_volume(modality):
    dataset = replace(DATASET, modalities=(modality,))
    plan = make_plan(dataset, fingerprint([(8, 8, 8)], [(1, 1, 1)]), Budget.cpu(), 3)
    assert plan.channels == (Channel(name=modality, normalisation=ZScore()),)


def test_the_patch_is_the_volume_where_it_fits():
    data = fingerprint([(35, 48, 35)], [(1, 1, 1)])
    plan = make_plan(DATASET, data, Budget.cpu(), 3)
    assert plan.patch_size == (40, 48, 40)  # up to multiples of 8
    assert plan.batch_size == 2 * 48 * 64 * 48 // (40 * 48 * 40)


def test_the_patch_of_a_thick_volume_at_the_planned_spacing():
    """5 slices stay one block of 8; of 512 x 512 pixels half remain at twice the spacing."""
    data = fingerprint([(3, 512, 512)], [(8, 1, 1)])
    small = Budget({2: 10**4, 3: 10**9}, {2: 10**4, 3: 10**9}, 16)
    assert make_plan(DATASET, data, small, 3).patch_size == (4, 512, 512)
    assert make_plan(DATASET, data, small, 2).patch_size == (96, 104)


def test_a_2d_plan_of_volumes():
    data = fingerprint([(30, 64, 80)], [(5, 1, 0.8)])
    plan = make_plan(DATASET, data, Budget.cpu(), 2)
    assert (plan.dims, plan.spacing_mm, plan.patch_size) == (2, (1, 0.8), (64, 80))
    assert plan.batch_size == 16


def test_photographs_have_no_spacing():
    dataset = replace(DATASET, dims=2, modalities=("R", "G", "B"))
    data = fingerprint([(1, 584, 565)], [(1, 1, 1)], [[1.0, 2.0, 3.0]])
    plan = make_plan(dataset, data, Budget.cpu(), 2)
    assert plan.spacing_mm is None
    assert len(plan.channels) == 3


def test_a_3d_network_on_photographs_is_refused():
    dataset = replace(DATASET, dims=2)
    with pytest.raises(ConfigError, match=r"Tiny holds single images; a 3D network needs volumes"):
        make_plan(dataset, fingerprint([(1, 64, 64)], [(1, 1, 1)]), Budget.cpu(), 3)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(*[st.integers(1, 700)] * 3), min_size=1, max_size=4),
    st.tuples(*[st.floats(0.2, 12)] * 3),
    st.sampled_from([2, 3]),
    st.sampled_from([Budget.cpu(), Budget.gpu()]),
)
def test_any_volume_gets_a_patch_within_the_budget(shapes, spacing, dims, budget):
    plan = make_plan(DATASET, fingerprint(shapes, [spacing] * len(shapes)), budget, dims)
    smallest = 8**dims
    assert np.prod(plan.patch_size) <= max(budget.patch_voxels[dims], smallest)
    assert all(edge % 4 == 0 for edge in plan.patch_size)
    assert 2 <= plan.batch_size <= 16
    assert Plan.parse(plan.model_dump(mode="json"), "again") == plan


def plan_of(patch, spacing):
    return Plan(
        dims=len(patch),
        spacing_mm=spacing,
        patch_size=patch,
        batch_size=2,
        channels=(Channel(name="c", normalisation=Scale()),),
        labels=("a", "b"),
    )


UNET = set(type(model_config("unet")).model_fields)


@pytest.mark.parametrize(
    ("patch", "spacing", "strides"),
    [
        ((32, 32, 32), (1, 1, 1), [(2, 2, 2)] * 3),
        ((128, 128, 128), (1, 1, 1), [(2, 2, 2)] * 4),  # five levels are enough
        # In-plane first, until 0.8 mm has become 3.2 and 5 is less than twice as much.
        ((16, 96, 96), (5, 0.8, 0.8), [(1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)]),
        # z stops at 4 voxels of 2 mm; the others go on without it.
        ((8, 128, 128), (1, 1, 1), [(2, 2, 2), (1, 2, 2), (1, 2, 2), (1, 2, 2)]),
        ((192, 96), None, [(2, 2)] * 4),
        ((4, 4, 4), (1, 1, 1), [(1, 1, 1)]),
        ((20, 20), (1, 1), [(2, 2), (2, 2)]),  # 20 -> 10 -> 5, which is odd
    ],
)
def test_pooling_by_hand(patch, spacing, strides):
    options = network_options(UNET, plan_of(patch, spacing), Budget.cpu())
    assert list(options["strides"]) == strides
    assert options["depth"] == len(strides) + 1


@pytest.mark.parametrize(
    ("depth", "strides"),
    [(2, [(1, 2, 2)]), (4, [(1, 2, 2), (1, 2, 2), (2, 2, 2)]), (6, None), (1, None)],
)
def test_a_depth_that_is_chosen_takes_the_first_poolings_that_fit(depth, strides):
    plan = plan_of((16, 96, 96), (5, 0.8, 0.8))  # four poolings fit
    options = network_options(UNET, plan, Budget.cpu(), depth)
    assert options.get("strides") == (None if strides is None else tuple(strides))
    assert options.get("depth") == (None if strides is None else depth)
    assert options["base_filters"] == Budget.cpu().base_filters


@settings(deadline=None, max_examples=12)
@given(
    st.sampled_from([2, 3]).flatmap(
        lambda dims: st.tuples(
            st.tuples(*[st.integers(1, 14).map(lambda n: 4 * n)] * dims),
            st.tuples(*[st.floats(0.3, 8)] * dims),
        )
    )
)
def test_every_planned_network_takes_its_patch(case):
    plan = plan_of(*case)
    options = {**network_options(UNET, plan, Budget.cpu()), "base_filters": 1}
    with keras.StatelessScope(initialize_variables=False):
        model = build("unet", (*plan.patch_size, 1), 2, **options)
    assert model.outputs[0].shape[1:-1] == plan.patch_size
    bottom = model.get_layer(f"encoder{options['depth'] - 1}_2_act").output.shape[1:-1]
    assert min(bottom) >= min(4, *plan.patch_size)


@pytest.mark.parametrize("fields", [{"base_filters"}, {"base_filters", "depth", "dropout"}])
def test_other_networks_get_the_width(fields):
    found = network_options(fields, plan_of((32, 32), None), Budget.gpu())
    assert found == {"base_filters": 32}


def test_a_patch_is_rounded_up_to_what_a_network_takes():
    plan = plan_of((40, 56, 40), (1, 1, 1))
    assert fit_patch(plan, (16, 16, 16)).patch_size == (48, 64, 48)
    assert fit_patch(plan, (8, 8, 1)) == plan
