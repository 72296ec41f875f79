"""The workers' manifests against Kubernetes' own schemas, the scaler against one of the fields it uses, both against the code."""

import copy
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from serving.settings import StreamSettings, WarehouseSettings
from serving.streaming.supervisor import scaling, stuck
from serving.streaming.worker.heartbeat import Heartbeat, beat, folder
from tests.serving.test_kubernetes import _IMPORT_WITH

ROOT = Path(__file__).parents[2]
FOLDERS = {name: ROOT / "serving" / "kubernetes" / name for name in ("stream", "stream-keda")}
KUSTOMIZATIONS = {
    name: yaml.safe_load((path / "kustomization.yaml").read_text(encoding="utf-8")) for name, path in FOLDERS.items()
}
FILES = [path for path in FOLDERS["stream"].glob("*.yaml") if path.name != "kustomization.yaml"]
MANIFESTS = {(manifest := yaml.safe_load(path.read_text(encoding="utf-8")))["kind"]: manifest for path in FILES}
SCALER = yaml.safe_load((FOLDERS["stream-keda"] / "scaler.yaml").read_text(encoding="utf-8"))
DEPLOYMENT = MANIFESTS["Deployment"]
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
SETTINGS = MANIFESTS["ConfigMap"]["data"]
CONTAINERFILE = FOLDERS["stream"] / "Containerfile"
RECIPE = CONTAINERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
PREFIX = "GROUNDSWELL_STREAM__"

_COUNT = {"type": "integer", "minimum": 0}
_RULES = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "stabilizationWindowSeconds": {"type": "integer", "minimum": 0, "maximum": 3600},
        "selectPolicy": {"enum": ["Max", "Min", "Disabled"]},
        "policies": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["type", "value", "periodSeconds"],
                "properties": {
                    "type": {"enum": ["Pods", "Percent"]},
                    "value": {"type": "integer", "minimum": 1},
                    "periodSeconds": {"type": "integer", "minimum": 1, "maximum": 1800},
                },
            },
        },
    },
}
_KAFKA = {
    "bootstrapServersFromEnv",
    "consumerGroupFromEnv",
    "topicFromEnv",
    "lagThreshold",
    "activationLagThreshold",
    "offsetResetPolicy",
    "allowIdleConsumers",
    "limitToPartitionsWithLag",
    "version",
    "sasl",
    "tls",
}
# Written by hand after KEDA's own definition of a ScaledObject (kedacore/keda, config/crd/bases/keda.sh_scaledobjects.yaml)
# and the page of its Kafka scaler (2.14): some fields and no others, so that a misspelt one is found.
SCALED_OBJECT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "keda.sh/v1alpha1"},
        "kind": {"const": "ScaledObject"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["scaleTargetRef", "triggers"],
            "properties": {
                "scaleTargetRef": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["name"],
                    "properties": {name: {"type": "string"} for name in ("apiVersion", "kind", "name", "envSourceContainerName")},
                },
                "minReplicaCount": _COUNT,
                "maxReplicaCount": _COUNT,
                "pollingInterval": _COUNT,
                "cooldownPeriod": _COUNT,
                "advanced": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "restoreToOriginalReplicaCount": {"type": "boolean"},
                        "horizontalPodAutoscalerConfig": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {
                                "name": {"type": "string"},
                                "behavior": {
                                    "type": "object",
                                    "additionalProperties": False,
                                    "properties": {"scaleUp": _RULES, "scaleDown": _RULES},
                                },
                            },
                        },
                    },
                },
                "triggers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["type", "metadata"],
                        "properties": {
                            "type": {"const": "kafka"},
                            "metadata": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {name: {"type": "string"} for name in _KAFKA},
                            },
                            "authenticationRef": {"type": "object", "required": ["name"]},
                        },
                    },
                },
            },
        },
    },
}


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("kind", sorted(MANIFESTS))
def test_manifests_fit_the_schemas(kind, version):
    assert kubernetes_validate.validate(MANIFESTS[kind], version, strict=True) == version


def test_the_scaler_fits_its_schema_and_the_schema_finds_mistakes():
    jsonschema.validate(SCALER, SCALED_OBJECT)
    for corrupt in (
        lambda spec: spec.update(maxReplicas=3),
        lambda spec: spec["triggers"][0]["metadata"].update(lagTreshold="10"),
        lambda spec: spec["triggers"][0]["metadata"].update(lagThreshold=1000),
        lambda spec: spec.pop("scaleTargetRef"),
    ):
        wrong = copy.deepcopy(SCALER)
        corrupt(wrong["spec"])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCALED_OBJECT)


def test_kustomizations_list_every_file_and_only_one_needs_keda():
    assert sorted(KUSTOMIZATIONS["stream"]["resources"]) == sorted(path.name for path in FILES)
    assert KUSTOMIZATIONS["stream-keda"]["resources"] == ["../stream", "scaler.yaml"]
    api = yaml.safe_load((ROOT / "serving" / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8"))
    assert not any("stream" in name for name in api["resources"]), "a cluster without Kafka gets no workers"
    assert {image["name"] for image in KUSTOMIZATIONS["stream"]["images"]} == {CONTAINER["image"]}
    (patch,) = KUSTOMIZATIONS["stream-keda"]["patches"]
    assert yaml.safe_load(patch["patch"]) == [{"op": "remove", "path": "/spec/replicas"}] and "replicas" in DEPLOYMENT["spec"]
    assert patch["target"] == {"kind": "Deployment", "name": DEPLOYMENT["metadata"]["name"]}


def test_scaler_targets_the_workers_and_their_topic():
    target = {name: DEPLOYMENT[name] for name in ("apiVersion", "kind")} | {"name": DEPLOYMENT["metadata"]["name"]}
    assert SCALER["spec"]["scaleTargetRef"] == target
    asked = SCALER["spec"]["triggers"][0]["metadata"]
    assert {value for name, value in asked.items() if name.endswith("FromEnv")} <= SETTINGS.keys()
    assert CONTAINER["envFrom"] == [{"configMapRef": {"name": MANIFESTS["ConfigMap"]["metadata"]["name"]}}]


def test_the_scaler_has_the_limits_of_the_supervisor():
    spec, behavior = SCALER["spec"], SCALER["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert int(spec["triggers"][0]["metadata"]["lagThreshold"]) == StreamSettings.model_fields["lag_limit"].default
    assert spec["pollingInterval"] == scaling.UP_AFTER_S
    assert behavior["scaleUp"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": int(scaling.SETTLE_S)}]
    assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": int(scaling.CALM_S)}]
    assert spec["minReplicaCount"] == 1
    partitions = re.search(r"partitions: int = (\d+)", (ROOT / "serving" / "streaming" / "broker.py").read_text())
    assert partitions and spec["maxReplicaCount"] == int(partitions[1])


def test_worker_knows_the_settings(monkeypatch):
    for name, value in SETTINGS.items():
        assert name == "GROUNDSWELL_PROFILE" or name.removeprefix(PREFIX).lower() in StreamSettings.model_fields, name
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(f"{PREFIX}SECURITY", '{"security.protocol": "SASL_SSL"}')
    monkeypatch.setenv("GROUNDSWELL_WAREHOUSE__URL", "http://user:password@clickhouse:8123/sentiment")
    assert StreamSettings.load().bootstrap == "kafka:9092" and WarehouseSettings.load().url
    assert {entry["name"] for entry in CONTAINER["env"]} == {"POD_NAME", f"{PREFIX}SECURITY", "GROUNDSWELL_WAREHOUSE__URL"}
    ports = {port["port"] for rule in MANIFESTS["NetworkPolicy"]["spec"]["egress"] for port in rule["ports"]}
    assert {9092, 8123} <= ports, "the way to the broker and to the warehouse is open"


def test_a_pod_has_time_to_finish_what_it_has_read():
    assert POD["terminationGracePeriodSeconds"] >= StreamSettings.model_fields["drain_s"].default + 30


def test_pod_has_few_rights():
    assert POD["securityContext"]["runAsNonRoot"] and POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not POD["automountServiceAccountToken"] and not POD["enableServiceLinks"]
    secured = CONTAINER["securityContext"]
    assert secured["readOnlyRootFilesystem"] and not secured["allowPrivilegeEscalation"]
    assert secured["capabilities"] == {"drop": ["ALL"]} and CONTAINER["resources"]["limits"]["memory"]
    user, group = re.findall(r"^USER (\d+):(\d+)$", RECIPE, flags=re.MULTILINE)[0]
    assert (POD["securityContext"]["runAsUser"], POD["securityContext"]["fsGroup"]) == (int(user), int(group))
    mounts = [mount["mountPath"] for mount in CONTAINER["volumeMounts"]]
    assert re.findall(r"GROUNDSWELL_PATHS__VAR_DIR=(\S+)", RECIPE)[0] in mounts and "/tmp" in mounts


def test_selectors_match_the_workers_and_not_the_service():
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    selectors = [
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        MANIFESTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(constraint["labelSelector"]["matchLabels"] for constraint in POD["topologySpreadConstraints"]),
    ]
    assert all(selector == labels for selector in selectors)
    api = yaml.safe_load((ROOT / "serving" / "kubernetes" / "deployment.yaml").read_text(encoding="utf-8"))
    assert api["spec"]["selector"]["matchLabels"] != labels


def _probe(name: str, var: Path) -> bool:
    environment = os.environ | {"GROUNDSWELL_PATHS__VAR_DIR": str(var), "POD_NAME": "stream-1"}
    ran = subprocess.run(CONTAINER[f"{name}Probe"]["exec"]["command"], env=environment, capture_output=True, check=False)
    return ran.returncode == 0


def test_probes_check_the_heartbeat_like_the_supervisor(tmp_path):
    asked = [(name, _probe(name, tmp_path)) for name in ("startup", "liveness", "readiness")]
    assert not any(result for _, result in asked), "nothing is written yet"
    for state, ready in (("waiting for the broker", False), ("running", True)):
        beat(tmp_path, Heartbeat(name="stream-1", pid=1, started_at=0.0, written_at=time.time(), state=state))
        assert [_probe(name, tmp_path) for name in ("startup", "liveness", "readiness")] == [True, True, ready]
    old = time.time() - stuck.HUNG_AFTER_S - 2
    os.utime(folder(tmp_path) / "stream-1.json", (old, old))
    assert not _probe("liveness", tmp_path)
    assert f"-{stuck.HUNG_AFTER_S:.0f} seconds" in CONTAINER["livenessProbe"]["exec"]["command"][-1]


def test_worker_arguments_match_the_command_line():
    entry = re.findall(r'^ENTRYPOINT \["python", "-m", "orchestration\.cli"\]$', RECIPE, flags=re.MULTILINE)
    assert entry and CONTAINER["args"][:2] == ["stream", "worker"]
    ran = subprocess.run(
        [sys.executable, "-m", "orchestration.cli", *CONTAINER["args"], "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0 and "--name" in ran.stdout


def test_the_recipe_of_the_image_is_in_order():
    ran = subprocess.run(
        [Path(sys.executable).parent / "hadolint", CONTAINERFILE], capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    sources = [word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", RECIPE, flags=re.MULTILINE) for word in line.split()]
    assert {"data", "serving", "orchestration", "configs"} <= set(sources)
    assert all((ROOT / source).exists() for source in sources if source != "bundle")


_MODULES = (
    "orchestration.cli.main, orchestration.terminal.stream_tables, orchestration.steps.events, "
    "serving.streaming.worker.worker, serving.streaming.worker.model, serving.streaming.worker.sink, "
    "serving.streaming.alerts.process, serving.streaming.supervisor.supervisor, serving.streaming.status, "
    "serving.streaming.lag, serving.warehouse.connect, serving.warehouse.server, confluent_kafka, "
    "clickhouse_connect, filelock"
)


def test_the_image_holds_what_the_stream_imports():
    assert '".[serve,stream]"' in RECIPE
    program = f"{_IMPORT_WITH.rsplit('import serving', 1)[0]}import {_MODULES}"
    ran = subprocess.run(
        [sys.executable, "-c", program, "groundswell[serve,stream]"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, (
        f"pyproject.toml: the extras serve and stream are short of a package: {ran.stderr.splitlines()[-1]}"
    )
