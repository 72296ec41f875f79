"""The manifests against Kubernetes' own schemas and against each other; the Containerfile against a real Bento."""

import json
import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from data.settings import PathSettings
from serving.service import build
from serving.service.build import build_bento
from serving.service.middleware import admission
from serving.service.middleware.origins import refuse_foreign
from serving.service.problems import Refused
from serving.settings import ServingSettings
from tests.models import tiny_bundle

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "serving" / "kubernetes"
CONTAINERFILE = ROOT / "serving" / "service" / "Containerfile"
RECIPE = CONTAINERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
MANIFESTS = {(manifest := yaml.safe_load(path.read_text(encoding="utf-8")))["kind"]: manifest for path in FILES}
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
DEPLOYMENT = MANIFESTS["Deployment"]
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
LABELS = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
PREFIX = "GROUNDSWELL_SERVING__"


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("kind", sorted(MANIFESTS))
def test_manifests_match_the_schemas(kind, version):
    assert kubernetes_validate.validate(MANIFESTS[kind], version, strict=True) == version


def test_callers_reach_the_service_by_its_names_and_by_the_addresses_of_pods():
    hosts = json.loads(MANIFESTS["ConfigMap"]["data"][f"{PREFIX}HOSTS"])
    name, namespace = MANIFESTS["Service"]["metadata"]["name"], KUSTOMIZATION["namespace"]
    of_the_cluster = [name, f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local"]
    assert hosts == of_the_cluster
    port = CONTAINER["ports"][0]["containerPort"]
    for host in (*hosts, f"{name}:80", f"10.4.0.17:{port}", f"[fd00::17]:{port}"):
        refuse_foreign({"type": "http", "method": "GET", "headers": [(b"host", host.encode())]}, hosts)
    with pytest.raises(Refused, match="HOSTS"):
        refuse_foreign({"type": "http", "method": "GET", "headers": [(b"host", b"evil.example")]}, hosts)
    probes = {CONTAINER[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert probes <= admission.OPEN


def test_schemas_find_a_misspelled_field():
    wrong = json.loads(json.dumps(DEPLOYMENT))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


def test_kustomization_lists_every_file_and_names_the_image():
    assert sorted(KUSTOMIZATION["resources"]) == [path.name for path in FILES]
    images = {container["image"] for container in POD["containers"] + POD["initContainers"]}
    assert images == {image["name"] for image in KUSTOMIZATION["images"]}


def test_selectors_match_the_pods():
    selectors = [
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        MANIFESTS["Service"]["spec"]["selector"],
        MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(constraint["labelSelector"]["matchLabels"] for constraint in POD["topologySpreadConstraints"]),
    ]
    assert all(selector and selector.items() <= LABELS.items() for selector in selectors)


def test_autoscaler_targets_the_deployment():
    spec = MANIFESTS["HorizontalPodAutoscaler"]["spec"]
    target = {name: DEPLOYMENT[name] for name in ("apiVersion", "kind")} | {"name": DEPLOYMENT["metadata"]["name"]}
    assert spec["scaleTargetRef"] == target and "replicas" not in DEPLOYMENT["spec"]
    assert spec["minReplicas"] > MANIFESTS["PodDisruptionBudget"]["spec"]["maxUnavailable"], "one pod always runs"
    assert CONTAINER["resources"]["requests"]["cpu"], "the target is a share of the requested CPU"


def test_ports_agree():
    (port,) = CONTAINER["ports"]
    default = ServingSettings.model_fields["port"].default
    assert port["containerPort"] == default == int(re.findall(r"^EXPOSE (\d+)$", RECIPE, flags=re.MULTILINE)[0])
    assert f"127.0.0.1:{default}/livez" in RECIPE
    used = [service["targetPort"] for service in MANIFESTS["Service"]["spec"]["ports"]]
    used += [rule["port"] for one in MANIFESTS["NetworkPolicy"]["spec"]["ingress"] for rule in one["ports"]]
    used += [CONTAINER[f"{probe}Probe"]["httpGet"]["port"] for probe in ("startup", "readiness", "liveness")]
    assert set(used) == {port["name"]}


def test_probes_use_routes_that_need_no_key():
    paths = {CONTAINER[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")}
    assert paths <= admission.OPEN


def test_settings_exist_in_the_service(monkeypatch):
    held = MANIFESTS["ConfigMap"]["data"]
    for name, value in held.items():
        assert name == "GROUNDSWELL_PROFILE" or name.removeprefix(PREFIX).lower() in ServingSettings.model_fields, name
        monkeypatch.setenv(name, value)
    secret = {entry["name"] for entry in CONTAINER["env"]}
    assert secret == {f"{PREFIX}REDIS_URL"} and not secret & held.keys()
    settings = ServingSettings.load()
    assert settings.keys and settings.prediction_store == "redis"
    assert CONTAINER["envFrom"] == [{"configMapRef": {"name": MANIFESTS["ConfigMap"]["metadata"]["name"]}}]


def test_pod_has_time_to_finish_running_requests():
    deadline_s = int(MANIFESTS["ConfigMap"]["data"][f"{PREFIX}DEADLINE_MS"]) / 1000
    paused_s = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["terminationGracePeriodSeconds"] > paused_s + deadline_s + 5, "service.py gives a request 5 s more"


def test_pod_has_few_privileges():
    assert POD["securityContext"]["runAsNonRoot"] and POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in POD["containers"] + POD["initContainers"]:
        secured = container["securityContext"]
        assert secured["readOnlyRootFilesystem"] and not secured["allowPrivilegeEscalation"]
        assert secured["capabilities"] == {"drop": ["ALL"]} and container["resources"]["limits"]["memory"]
    user, group = re.findall(r"^USER (\d+):(\d+)$", RECIPE, flags=re.MULTILINE)[0]
    assert (POD["securityContext"]["runAsUser"], POD["securityContext"]["fsGroup"]) == (int(user), int(group))


def test_folders_that_the_image_writes_to_are_mounted(monkeypatch):
    mounts = [mount["mountPath"] for mount in CONTAINER["volumeMounts"]]
    written = dict(re.findall(r"(BENTOML_HOME|GROUNDSWELL_PATHS__VAR_DIR)=(\S+)", RECIPE))
    assert len(written) == 2 and all(any(Path(path).is_relative_to(mount) for mount in mounts) for path in written.values())
    assert "/tmp" in mounts, "the service's processes connect through a socket there"
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", written["GROUNDSWELL_PATHS__VAR_DIR"])
    (copy,) = POD["initContainers"]
    assert copy["command"][-1] == str(PathSettings.load().var / "service" / "keys.db"), "keys_of reads this file"


def test_containerfile_passes_hadolint():
    hadolint = Path(sys.executable).parent / "hadolint"
    ran = subprocess.run([hadolint, CONTAINERFILE], capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{PREFIX}KEYS=true" in RECIPE and re.search(r'^CMD \[.*"--host", "0\.0\.0\.0"\]$', RECIPE, flags=re.MULTILINE)


@pytest.mark.integration
def test_containerfile_copies_what_a_bento_has(tmp_path):
    tag = build_bento(tiny_bundle(tmp_path / "bundle").directory, tmp_path / "home")
    bento = tmp_path / "home" / "bentos" / Path(*tag.split(":"))
    sources = re.findall(r"^COPY (?!--from)(\S+) \S+$", RECIPE, flags=re.MULTILINE)
    assert len(sources) == 3 and all((bento / source).exists() for source in sources)
    assert (bento / "src" / "bundle" / "bundle.json").is_file(), "the image serves the bundle inside it"
    pages = bento / "src" / "serving" / "dashboard"
    assert (pages / "out" / "index.html").is_file() == (ROOT / "serving" / "dashboard" / "out" / "index.html").is_file()
    assert not (pages / "node_modules").exists() and not (pages / "src").exists()


def test_changed_code_is_another_bento(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "project_root", lambda: tmp_path)
    for folder in ("data", "configs", "serving/dashboard/out", "serving/dashboard/node_modules", "serving/__pycache__"):
        (tmp_path / folder).mkdir(parents=True)
    written = {name: tmp_path / name for name in ("serving/a.py", "serving/dashboard/out/index.html", "configs/a.yaml")}
    for file in written.values():
        file.write_text("one")
    (tmp_path / "serving/dashboard/package.json").write_text("is not served")
    (tmp_path / "serving/__pycache__/a.pyc").write_text("is not code")
    assert [str(file) for file in build._code()] == sorted(written)
    before = build._digest(build._code(), [])
    assert before == build._digest(build._code(), [])
    for file in written.values():
        file.write_text("two")
        now = build._digest(build._code(), [])
        assert now != before
        before = now


_IMPORT_WITH = """
import importlib.metadata as found, re, sys
from packaging.requirements import Requirement

def name(of):
    return re.sub(r"[-_.]+", "-", of).lower()

held, ahead = set(), [Requirement(word) for word in sys.argv[1:]]
while ahead:
    wanted = ahead.pop()
    for extra in {"", *wanted.extras}:
        if (name(wanted.name), extra) not in held:
            held.add((name(wanted.name), extra))
            needs = map(Requirement, found.requires(wanted.name) or ())
            ahead += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
owners = found.packages_distributions()

class OnlyHeld:
    def find_spec(self, module, path=None, target=None):
        owned = owners.get(module)
        if owned and not {(name(owner), "") for owner in owned} & held and module not in ("data", "serving"):
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)

sys.meta_path.insert(0, OnlyHeld())
import serving.service.service, serving.service.cache.stores, redis
# Modules of the dashboard are imported on the first request.
import serving.streaming.status, serving.streaming.lag, serving.streaming.alerts.process
import serving.warehouse.questions, confluent_kafka
# The language model is loaded with the first text.
import data.language
assert data.language.language_of("déjà vu, and the soup was cold again today") == "en"
"""


def test_image_has_all_packages_that_the_service_imports():
    ran = subprocess.run(
        [sys.executable, "-c", _IMPORT_WITH, *build.PACKAGES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, f"serving/service/build.py: PACKAGES is short of a package: {ran.stderr.splitlines()[-1]}"
