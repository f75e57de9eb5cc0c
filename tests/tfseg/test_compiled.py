"""Compiled loops: with a cache where one can be kept, and without one elsewhere."""

import errno

import numpy as np
import pytest
from numba.core.caching import CompileResultCacheImpl, FunctionCache

from tfseg.compiled import compiled


def double(values):
    for index in range(len(values)):
        values[index] *= 2


def run(function):
    values = np.arange(3)
    function(values)
    return values.tolist()


def test_code_is_kept_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    assert run(compiled(double)) == [0, 2, 4]
    assert any(tmp_path.rglob("*.nbc"))
    again = compiled(double)
    assert run(again) == [0, 2, 4]
    assert sum(again.stats.cache_hits.values()) == 1


def test_nothing_to_write_to(monkeypatch):
    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="no locator"):
        FunctionCache(double)
    assert run(compiled(double)) == [0, 2, 4]


def test_a_full_disk_costs_the_cache_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FunctionCache, "_save_overload", full)
    assert run(compiled(double)) == [0, 2, 4]
