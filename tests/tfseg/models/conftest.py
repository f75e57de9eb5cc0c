"""What tests that build networks at their published widths need."""

from tests.keras_memory import forget_networks, keep_libraries

__all__ = ["forget_networks", "keep_libraries"]
