"""The public names of the wire format, the JSON side and the client are those they list."""

from __future__ import annotations

import types

import pytest

from tfseg_serving import client, json_tensor, wire


@pytest.mark.parametrize(
    "package", [wire, json_tensor, client], ids=lambda package: package.__name__
)
def test_all_is_exact(package):
    public = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(package.__all__)
    assert len(package.__all__) == len(public)
