"""What the environment says of the processes that train together."""

from __future__ import annotations

import json

import pytest

from tfseg.errors import ConfigError
from tfseg.workers import Workers, read_workers

TWO = ["a:1", "b:1"]


def config(cluster: object, **task: object) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Workers()),
        ({"TF_CONFIG": "{}"}, Workers()),
        (config({"worker": TWO}, type="worker", index=1), Workers(1, 2, "TF_CONFIG")),
        (
            config({"chief": ["c:1"], "worker": TWO}, type="worker", index=1),
            Workers(2, 3, "TF_CONFIG"),
        ),
        (
            config({"chief": ["c:1"], "worker": TWO}, type="chief", index=0),
            Workers(0, 3, "TF_CONFIG"),
        ),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}, Workers(3, 4, "SLURM")),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, Workers()),
        ({"SLURM_NTASKS": "4"}, Workers()),  # an allocation, in which this is no step
    ],
)
def test_who_trains_together(environment: dict[str, str], expected: Workers) -> None:
    found = read_workers(environment)
    assert found == expected
    assert found.is_chief == (expected.index == 0)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TF_CONFIG": "{"}, "TF_CONFIG is no valid JSON"),
        ({"TF_CONFIG": "[]"}, "must be an object with the objects cluster and task"),
        (config({"worker": "a:1"}, type="worker", index=0), "worker must be a list of addresses"),
        (config({"worker": TWO}, type="worker", index=2), "one of its 2 processes; got worker 2"),
        (config({"worker": TWO}, type="evaluator", index=0), "must have workers only"),
        (config({"worker": TWO, "ps": TWO}, type="worker", index=0), "workers only, .* got ps"),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "2"}, "SLURM_PROCID must be a number below"),
    ],
)
def test_bad_input_environments(environment: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        read_workers(environment)
