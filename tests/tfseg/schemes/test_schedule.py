"""The learning rate and the end of a run, by hand."""

from __future__ import annotations

import pytest

from tfseg.schemes.schedule import rate_factor


@pytest.mark.parametrize(
    ("schedule", "done", "expected"),
    [
        ("poly", 0.0, 1.0),
        ("poly", 0.5, 0.5358867312681466),  # 0.5 ** 0.9
        ("poly", 1.0, 0.0),
        ("cosine", 0.0, 1.0),
        ("cosine", 1 / 3, 0.75),
        ("cosine", 1.0, 0.0),
        ("constant", 0.9, 1.0),
    ],
)
def test_rate_falls_as_it_is_named(schedule: str, done: float, expected: float) -> None:
    assert rate_factor(schedule, done) == pytest.approx(expected)


def test_warm_up_rises_to_the_start_of_the_schedule() -> None:
    assert [rate_factor("cosine", done, 0.2) for done in (0.0, 0.05, 0.2, 0.6, 1.0)] == (
        pytest.approx([0.0, 0.25, 1.0, 0.5, 0.0])
    )
