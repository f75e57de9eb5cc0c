"""Synthetic data sets with exact labels: seeded, the same bytes for the same seed.

They stand in for real scans in demonstrations and tests: drawn from anatomy-like shapes, with
partial volume, textured noise and varied geometry, in the folder layouts of real data sets.
"""

from __future__ import annotations

from tfseg.datasets.phantom.make import KINDS, make_phantom

__all__ = ["KINDS", "make_phantom"]
