"""The form of the files of ``serving/deploy``: the fields that their API versions document.

Held to tables of the fields that are used here, and to the published schemas where the package
kubernetes-validate is installed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML reads the deployment files")

DEPLOY = Path(__file__).resolve().parents[2] / "serving" / "deploy"
COMPOSE = sorted(path.name for path in DEPLOY.glob("docker-compose*.yml"))
KUBERNETES = sorted(path.relative_to(DEPLOY).as_posix() for path in DEPLOY.glob("kubernetes/*"))
KSERVE = sorted(path.relative_to(DEPLOY).as_posix() for path in DEPLOY.glob("kserve/*"))


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML's own loader keeps the last."""


def _mapping(loader: _Loader, node: Any) -> dict[Any, Any]:
    pairs = loader.construct_pairs(node, deep=True)
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), f"a key stands twice: {keys}"
    return dict(pairs)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load(name: str) -> Any:
    return yaml.load((DEPLOY / name).read_text(encoding="utf-8"), _Loader)


# A dict lists the fields of an object ("!" in front: required), a list the form of its elements, a
# set the values that are allowed, `{str: ...}` a map of any keys; a function judges a value.


def quantity(value: Any) -> bool:
    """Of Kubernetes: 2, "500m", "8Gi"."""
    return bool(re.fullmatch(r"\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?", str(value)))


def label(value: Any) -> bool:
    """A label's value: text, so that "true" must be quoted."""
    return isinstance(value, str) and bool(re.fullmatch(r"[A-Za-z0-9]([\w.-]{0,61}\w)?", value))


def name(value: Any) -> bool:
    """Of an object: a DNS label."""
    return isinstance(value, str) and bool(
        re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value)
    )


def port_name(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[a-z0-9-]{1,15}", value))


def port_number(value: Any) -> bool:
    return type(value) is int and 0 < value < 65536


def port(value: Any) -> bool:
    return port_number(value) or port_name(value)


def duration(value: Any) -> bool:
    """Of compose: 10s, 5m."""
    return bool(re.fullmatch(r"\d+(s|m|h)", str(value)))


LABELS = {str: label}
META = {"!name": name, "labels": LABELS, "annotations": {str: str}}
SELECTOR = {"!matchLabels": LABELS}
RESOURCES = {"requests": {str: quantity}, "limits": {str: quantity}}
PROBE = {
    "httpGet": {"!path": str, "!port": port, "scheme": {"HTTP", "HTTPS"}},
    "tcpSocket": {"!port": port},
    "periodSeconds": int,
    "timeoutSeconds": int,
    "failureThreshold": int,
}
CONTAINER = {
    "!name": name,
    "!image": str,
    "command": [str],
    "args": [str],
    "ports": [{"name": port_name, "!containerPort": port_number, "protocol": {"TCP"}}],
    "startupProbe": PROBE,
    "readinessProbe": PROBE,
    "livenessProbe": PROBE,
    "lifecycle": {"preStop": {"exec": {"command": [str]}}},
    "resources": RESOURCES,
    "securityContext": {
        "allowPrivilegeEscalation": bool,
        "readOnlyRootFilesystem": bool,
        "capabilities": {"drop": [str], "add": [str]},
    },
    "volumeMounts": [{"!name": name, "!mountPath": str, "readOnly": bool}],
}
POD = {
    "automountServiceAccountToken": bool,
    "enableServiceLinks": bool,
    "shareProcessNamespace": bool,
    "terminationGracePeriodSeconds": int,
    "securityContext": {
        "runAsNonRoot": bool,
        "runAsUser": int,
        "runAsGroup": int,
        "fsGroup": int,
        "fsGroupChangePolicy": {"OnRootMismatch", "Always"},
        "seccompProfile": {"!type": {"RuntimeDefault"}},
    },
    "topologySpreadConstraints": [
        {
            "!maxSkew": int,
            "!topologyKey": str,
            "!whenUnsatisfiable": {"ScheduleAnyway", "DoNotSchedule"},
            "labelSelector": SELECTOR,
        }
    ],
    "!containers": [CONTAINER],
    "volumes": [
        {
            "!name": name,
            "persistentVolumeClaim": {"!claimName": name, "readOnly": bool},
            "configMap": {"!name": name},
            "emptyDir": {"sizeLimit": quantity},
        }
    ],
}
# apiVersion and kind -> fields
KINDS = {
    ("v1", "Namespace"): {"!metadata": META},
    ("v1", "PersistentVolumeClaim"): {
        "!metadata": META,
        "!spec": {
            "!accessModes": [{"ReadWriteMany", "ReadWriteOnce", "ReadOnlyMany"}],
            "!resources": RESOURCES,
        },
    },
    ("apps/v1", "Deployment"): {
        "!metadata": META,
        "!spec": {
            "!selector": SELECTOR,
            "strategy": {
                "type": {"RollingUpdate", "Recreate"},
                "rollingUpdate": {"maxUnavailable": int, "maxSurge": int},
            },
            "!template": {
                "!metadata": {"!labels": LABELS, "annotations": {str: str}},
                "!spec": POD,
            },
        },
    },
    ("v1", "Service"): {
        "!metadata": META,
        "!spec": {
            "type": {"ClusterIP"},
            "!selector": LABELS,
            "!ports": [
                {"name": port_name, "!port": port_number, "targetPort": port, "appProtocol": str}
            ],
        },
    },
    ("autoscaling/v2", "HorizontalPodAutoscaler"): {
        "!metadata": META,
        "!spec": {
            "!scaleTargetRef": {"apiVersion": str, "!kind": str, "!name": name},
            "minReplicas": int,
            "!maxReplicas": int,
            "metrics": [
                {
                    "!type": {"Resource"},
                    "resource": {
                        "!name": {"cpu", "memory"},
                        "!target": {"!type": {"Utilization"}, "averageUtilization": int},
                    },
                }
            ],
            "behavior": {
                "scaleDown": {
                    "stabilizationWindowSeconds": int,
                    "policies": [{"!type": {"Pods"}, "!value": int, "!periodSeconds": int}],
                }
            },
        },
    },
    ("policy/v1", "PodDisruptionBudget"): {
        "!metadata": META,
        "!spec": {"minAvailable": int, "!selector": SELECTOR},
    },
    ("networking.k8s.io/v1", "NetworkPolicy"): {
        "!metadata": META,
        "!spec": {
            "!podSelector": SELECTOR,
            "policyTypes": [{"Ingress", "Egress"}],
            "ingress": [
                {
                    "from": [{"podSelector": SELECTOR, "namespaceSelector": SELECTOR}],
                    "ports": [{"protocol": {"TCP"}, "port": port}],
                }
            ],
        },
    },
    ("serving.kserve.io/v1beta1", "InferenceService"): {
        "!metadata": META,
        "!spec": {
            "!predictor": {
                "minReplicas": int,
                "maxReplicas": int,
                "timeout": int,
                "containerConcurrency": int,
                "model": {
                    "!modelFormat": {"!name": {"tensorflow", "triton"}, "version": str},
                    "protocolVersion": {"v1", "v2", "grpc-v1", "grpc-v2"},
                    "runtime": str,
                    "runtimeVersion": str,
                    "storageUri": str,
                    "args": [str],
                    "ports": CONTAINER["ports"],
                    "resources": RESOURCES,
                },
            }
        },
    },
    ("kustomize.config.k8s.io/v1beta1", "Kustomization"): {
        "namespace": name,
        "resources": [str],
        "configMapGenerator": [{"!name": name, "files": [str]}],
        "labels": [{"!pairs": LABELS}],
        "images": [{"!name": str, "newTag": str}],
    },
}
COMPOSE_FILE = {
    "!services": {
        str: {
            "!image": str,
            "entrypoint": [str],
            "command": [str],
            "init": bool,
            "ports": [str],
            "volumes": [str],
            "healthcheck": {
                "!test": [str],
                "interval": duration,
                "timeout": duration,
                "retries": int,
                "start_period": duration,
            },
            "deploy": {"resources": {"limits": {"cpus": str, "memory": quantity}}},
            "pids_limit": int,
            "shm_size": str,
            "read_only": bool,
            "tmpfs": [str],
            "cap_drop": [str],
            "security_opt": [str],
            "restart": {"unless-stopped"},
            "stop_grace_period": duration,
        }
    }
}


def offences(value: Any, form: Any, place: str = "") -> Iterator[str]:
    """Yield what in ``value`` is not as ``form`` says."""
    if isinstance(form, dict) and str in form:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            yield f"{place} must be a map of texts"
            return
        for key, one in value.items():
            yield from offences(one, form[str], f"{place}.{key}")
    elif isinstance(form, dict):
        if not isinstance(value, dict):
            yield f"{place} must be an object"
            return
        fields = {key.lstrip("!"): inner for key, inner in form.items()}
        for key, one in value.items():
            if key not in fields:
                yield f"{place}.{key} is no field"
            else:
                yield from offences(one, fields[key], f"{place}.{key}")
        for key in form:
            if key.startswith("!") and key[1:] not in value:
                yield f"{place}.{key[1:]} is required"
    elif isinstance(form, list):
        if not isinstance(value, list) or not value:
            yield f"{place} must be a list"
            return
        for number, one in enumerate(value):
            yield from offences(one, form[0], f"{place}[{number}]")
    elif isinstance(form, set):
        if value not in form:
            yield f"{place} must be one of {form}"
    elif isinstance(form, type):
        if type(value) is not form:
            yield f"{place} must be {form.__name__}"
    elif not form(value):
        yield f"{place} is no {form.__name__}: {value!r}"


def offences_of_object(document: dict[str, Any]) -> list[str]:
    kind = document.get("apiVersion"), document.get("kind")
    if kind not in KINDS:
        return [f"{kind} is no known kind"]
    fields = {key: one for key, one in document.items() if key not in {"apiVersion", "kind"}}
    return list(offences(fields, KINDS[kind]))


@pytest.mark.parametrize("path", [*KUBERNETES, *KSERVE, "kustomization.yaml"])
def test_objects_have_the_documented_fields(path: str) -> None:
    assert offences_of_object(load(path)) == []


@pytest.mark.parametrize("path", COMPOSE)
def test_compose_files_have_the_documented_fields(path: str) -> None:
    assert list(offences(load(path), COMPOSE_FILE)) == []


@pytest.mark.parametrize("path", KUBERNETES)
def test_objects_by_the_published_schemas(path: str) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    for version in ("1.29", "1.37"):
        validator.validate(load(path), version, strict=True)


def test_the_check_finds_offenders() -> None:
    deployment = load("kubernetes/deployment.yaml")
    assert offences_of_object(deployment) == []
    for change, finding in (
        (lambda pod: pod.pop("containers"), "containers is required"),
        (lambda pod: pod.update(contaners=[]), "contaners is no field"),
        (lambda pod: pod["volumes"][0].update(name="Models"), "is no name: 'Models'"),
        (lambda pod: pod["containers"][0]["ports"][0].update(containerPort="8500"), "port_number"),
        (lambda pod: pod["containers"][0]["resources"]["limits"].update(memory="8 GB"), "quantity"),
        (lambda pod: pod.update(shareProcessNamespace="yes"), "must be bool"),
    ):
        broken = copy.deepcopy(deployment)
        change(broken["spec"]["template"]["spec"])
        (found,) = offences_of_object(broken)
        assert finding in found
