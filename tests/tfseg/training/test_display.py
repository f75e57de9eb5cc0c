"""What is shown while a run goes on."""

from __future__ import annotations

import pytest

from tfseg.training.display import format_seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (44.6, "45s"), (60, "1m00s"), (725, "12m05s"), (3600, "1h00m"), (11_220, "3h07m")],
)
def test_time_left_is_short_to_read(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
