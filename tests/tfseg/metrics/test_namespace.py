"""The public names of tfseg.metrics are exactly those it lists."""

import types

from tfseg import metrics


def test_all_is_exact():
    public = {
        name
        for name, value in vars(metrics).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(metrics.__all__)
    assert len(metrics.__all__) == len(public)
