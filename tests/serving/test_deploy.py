"""What the files of ``serving/deploy`` say: flags that exist; names, ports and paths that agree.

No cluster and no container runs here. The flags are held against those that
``tensorflow_model_server`` has; the health checks are run, against the embedded server.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tfseg_serving.cli_serve import serve
from tfseg_serving.config import models_from_config
from tfseg_serving.flags import Flags
from tfseg_serving.protos import read_message

yaml = pytest.importorskip("yaml", reason="PyYAML reads the deployment files")

DEPLOY = Path(__file__).resolve().parents[2] / "serving" / "deploy"
COMPOSE = sorted(path.name for path in DEPLOY.glob("docker-compose*.yml"))
KUBERNETES = sorted(path.relative_to(DEPLOY).as_posix() for path in DEPLOY.glob("kubernetes/*"))
KSERVE = sorted(path.relative_to(DEPLOY).as_posix() for path in DEPLOY.glob("kserve/*"))


def load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def _container() -> dict[str, Any]:
    (container,) = _pod()["containers"]
    return container


def _pod() -> dict[str, Any]:
    return load("kubernetes/deployment.yaml")["spec"]["template"]["spec"]


def _service(path: str) -> dict[str, Any]:
    (service,) = load(path)["services"].values()
    return service


TENSORFLOW_ARGUMENTS = {
    "docker-compose.yml": lambda: _service("docker-compose.yml")["command"],
    "kubernetes/deployment.yaml": lambda: _container()["args"],
    "kserve/tensorflow.yaml": lambda: [
        "--model_base_path=/mnt/models",  # the runtime's own
        *load("kserve/tensorflow.yaml")["spec"]["predictor"]["model"]["args"],
    ],
}


@pytest.mark.parametrize("path", TENSORFLOW_ARGUMENTS)
def test_flags_are_those_of_tensorflow_model_server(path: str) -> None:
    arguments = TENSORFLOW_ARGUMENTS[path]()
    # Ours are written with hyphens: what has an underscore, and `port`, is the server's own.
    theirs = {
        name for option in serve.params for name in option.opts if "_" in name or name == "--port"
    }
    assert {argument.partition("=")[0] for argument in arguments} <= theirs
    flags = Flags(**serve.make_context("serve", list(arguments)).params)
    flags.check()
    assert flags.tensor_content
    if path != "kserve/tensorflow.yaml":
        assert (flags.grpc, flags.rest) == (8500, 8501)
        assert flags.rest_api_timeout_in_ms == 600_000


def test_ports_paths_and_names_agree_in_kubernetes() -> None:
    pod, container = _pod(), _container()
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"grpc": 8500, "http": 8501}
    service = load("kubernetes/service.yaml")["spec"]["ports"]
    assert {one["targetPort"]: one["port"] for one in service} == ports

    (model,) = models_from_config(DEPLOY / "models.config")
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": f"/v1/models/{model.name}", "port": "http"}
    assert container["livenessProbe"]["tcpSocket"] == {"port": "grpc"}
    allowed = load("kubernetes/network.yaml")["spec"]["ingress"]
    assert {one["port"] for rule in allowed for one in rule["ports"]} == set(ports)

    template = load("kubernetes/deployment.yaml")["spec"]["template"]["metadata"]
    monitoring = read_message(DEPLOY / "monitoring.config", "MonitoringConfig", "test")
    assert template["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(ports["http"]),
        "prometheus.io/path": monitoring.prometheus_config.path,
    }

    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert set(mounts.values()) == set(volumes)
    assert str(model.base_path).startswith("/models/")
    claim = load("kubernetes/volume.yaml")["metadata"]["name"]
    assert volumes[mounts["/models"]]["persistentVolumeClaim"]["claimName"] == claim
    (generated,) = load("kustomization.yaml")["configMapGenerator"]
    assert volumes[mounts["/config"]]["configMap"]["name"] == generated["name"]
    used = re.findall(r"=/config/(\S+)", " ".join(container["args"]))
    assert set(used) <= set(generated["files"])
    for file in generated["files"]:
        assert (DEPLOY / file).is_file()

    deployment = load("kubernetes/deployment.yaml")
    target = load("kubernetes/autoscaler.yaml")["spec"]["scaleTargetRef"]
    assert target == {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
    }
    labels = template["labels"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        load("kubernetes/service.yaml")["spec"]["selector"],
        load("kubernetes/disruption.yaml")["spec"]["selector"]["matchLabels"],
        load("kubernetes/network.yaml")["spec"]["podSelector"]["matchLabels"],
        pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ):
        assert selector == labels
    assert sorted(load("kustomization.yaml")["resources"]) == KUBERNETES


def test_a_pod_is_stopped_after_its_requests() -> None:
    command, seconds = _container()["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert int(seconds) < _pod()["terminationGracePeriodSeconds"]
    # Without it, the signal after that would be ignored: see the comment there.
    assert _pod()["shareProcessNamespace"] is True


def test_pods_meet_the_strictest_standard_that_the_namespace_asks_for() -> None:
    """The rules of the Pod Security Standard `restricted` that concern what is used here."""
    enforced = load("kubernetes/namespace.yaml")["metadata"]["labels"]
    assert enforced == {"pod-security.kubernetes.io/enforce": "restricted"}
    pod, container = _pod(), _container()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] != 0
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim"}
    # Beyond the standard.
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["automountServiceAccountToken"] is False


def test_releases_are_named_and_the_same_everywhere() -> None:
    (image,) = load("kustomization.yaml")["images"]
    assert image["name"] == _container()["image"]
    released = {
        "tensorflow": {
            image["newTag"],
            re.search(r":-([^}]+)}$", _service("docker-compose.yml")["image"])[1],
        },
        "triton": {re.search(r":-([^}]+)}$", _service("docker-compose.triton.yml")["image"])[1]},
    }
    for path in KSERVE:
        model = load(path)["spec"]["predictor"]["model"]
        released[model["modelFormat"]["name"]].add(model["runtimeVersion"])
    for path in COMPOSE:
        assert "latest" not in _service(path)["image"]
    assert all(len(tags) == 1 for tags in released.values()), released


@pytest.mark.parametrize("path", KSERVE)
def test_kserve_reads_the_same_volume_and_offers_grpc(path: str) -> None:
    predictor = load(path)["spec"]["predictor"]
    claim = load("kubernetes/volume.yaml")["metadata"]["name"]
    folder = {"tensorflow": "liver", "triton": "triton"}[predictor["model"]["modelFormat"]["name"]]
    assert predictor["model"]["storageUri"] == f"pvc://{claim}/{folder}"
    assert predictor["model"]["ports"] == [
        {"name": "h2c", "protocol": "TCP", "containerPort": 9000}
    ]
    assert predictor["model"]["protocolVersion"].startswith("grpc-")


@pytest.mark.parametrize("path", COMPOSE)
def test_compose_services_are_shut_in(path: str) -> None:
    service = _service(path)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    for published in service["ports"]:
        # Docker's default address is every one of the machine's.
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", published)
    for volume in service["volumes"]:
        source, _, mode = re.fullmatch(
            r"(\$\{\w+:-[^}]+\}|\./[\w.]+):(/[\w./]+):(ro)", volume
        ).groups()
        assert mode == "ro"
        if source.startswith("./"):
            assert (DEPLOY / source).is_file()
    ports = {int(published.rpartition(":")[2]) for published in service["ports"]}
    checked = re.search(r"/dev/tcp/127\.0\.0\.1/(\d+)", service["healthcheck"]["test"][-1])
    assert int(checked[1]) in ports
    given = {int(number) for number in re.findall(r"port=(\d+)", " ".join(service["command"]))}
    assert given in ({*ports}, set())  # Triton's are its defaults
    if path == "docker-compose.triton.yml":
        assert ports == {8000, 8001, 8002}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is absent")
@pytest.mark.parametrize(("model", "code"), [("zoo", 0), ("nobody", 1)])
def test_the_health_check_tells_a_model_that_is_there(zoo: Any, model: str, code: int) -> None:
    first, *command = _service("docker-compose.yml")["healthcheck"]["test"]
    assert first == "CMD"
    # As compose does: two dollar signs stand for one.
    script = command[-1].replace("$$", "$")
    for said, real in (("8501", str(urlsplit(zoo.rest_url).port)), ("/liver ", f"/{model} ")):
        assert said in script
        script = script.replace(said, real)
    done = subprocess.run(["bash", *command[1:-1], script], timeout=20, check=False)
    assert done.returncode == code


def test_the_health_check_fails_without_a_server() -> None:
    script = _service("docker-compose.triton.yml")["healthcheck"]["test"][-1].replace("$$", "$")
    script = script.replace("/8000", "/1")  # where nothing listens
    done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=20, check=False)
    assert done.returncode != 0


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is absent")
def test_kustomize_builds_what_the_files_say() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    kinds = {document["kind"]: document for document in built}
    assert len(built) == len(KUBERNETES) + 1
    (volume,) = [
        one
        for one in kinds["Deployment"]["spec"]["template"]["spec"]["volumes"]
        if "configMap" in one
    ]
    assert volume["configMap"]["name"] == kinds["ConfigMap"]["metadata"]["name"]
    assert set(kinds["ConfigMap"]["data"]) == {
        "models.config",
        "monitoring.config",
        "batching.config",
    }
    (container,) = kinds["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert re.fullmatch(r"tensorflow/serving:[\d.]+", container["image"])


def test_the_readme_tells_of_every_file() -> None:
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([\w./-]+)`", text))
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.name != "README.md":
            relative = path.relative_to(DEPLOY).as_posix()
            assert relative in told or f"{relative.split('/')[0]}/" in told, relative
