"""The examples for clusters: what they start is what `tfseg train` takes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tfseg.cli.train import train
from tfseg.workers import Workers, read_workers

yaml = pytest.importorskip("yaml", reason="PyYAML reads the Kubernetes example")
CLUSTER = Path(__file__).resolve().parents[1] / "examples/cluster"


def parsed(words: str) -> dict[str, Any]:
    """The options of a command line, as the command itself reads them."""
    _, _, given = words.partition("tfseg train ")
    return train.make_context("train", given.split()).params


def shell(script: str, **environment: str) -> str:
    done = subprocess.run(
        ["bash", "-c", script], env={"PATH": "/usr/bin:/bin", **environment}, text=True,
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout


def test_the_sbatch_file_starts_a_training_on_each_machine() -> None:
    text = (CLUSTER / "train.sbatch").read_text()
    subprocess.run(["bash", "-n", CLUSTER / "train.sbatch"], check=True, timeout=60)
    settings = dict(re.findall(r"^#SBATCH --([\w-]+)=(.+)$", text, re.MULTILINE))
    assert (settings["nodes"], settings["ntasks-per-node"]) == ("2", "1")
    command = next(line for line in text.splitlines() if line.startswith("srun "))
    assert parsed(command)["run"] == "/shared/runs/first"


def test_the_kubernetes_job_gives_each_pod_its_number() -> None:
    service, job = yaml.safe_load_all((CLUSTER / "train.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 2
    assert service["spec"]["clusterIP"] == "None"
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    (container,) = pod["containers"]
    assert container["command"] == ["/bin/bash", "-c"]
    (script,) = container["args"]
    shown = script.replace("exec tfseg", 'echo "$TF_CONFIG"; echo tfseg')
    for index in (0, 1):
        said = shell(shown, JOB_COMPLETION_INDEX=str(index))
        config, _, command = said.rpartition("tfseg train ")
        assert read_workers({"TF_CONFIG": config}) == Workers(index, 2, "TF_CONFIG")
        port = container["ports"][0]["containerPort"]
        assert f'"{job["metadata"]["name"]}-1.{service["metadata"]["name"]}:{port}"' in config
        assert parsed(f"tfseg train {command}")["model"] == "unet"
