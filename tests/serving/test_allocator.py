"""Freed buffers are used again instead of being faulted in anew."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from tfseg_serving.client import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def message():
    parts = [b"x" * (24 << 20) for _ in range(3)]
    parts.clear()

if KEEP:
    assert keep_freed_memory()
message()
before = faults()
for _ in range(10):
    message()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_buffers_are_used_again() -> None:
    def faults(keep: bool) -> int:
        program = PROGRAM.replace("KEEP", str(keep))
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert faults(keep=True) * 10 < faults(keep=False)


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from tfseg_serving.client import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
