"""A deployment is replaced only by one that passed its smoke test. Real Bentos, real processes."""

import socket

import httpx
import psutil
import pytest

from data.errors import BundleError, DeploymentFailed
from serving.deployment import deploy, require_port, status, stop
from serving.service.build import build_bento
from serving.service.middleware.keys import keys_of
from serving.settings import ServingSettings
from tests.models import tiny_bundle
from tests.serving.deploying import put
from tests.serving.running import spare_port

pytestmark = pytest.mark.integration


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "deployment"
    yield tmp_path, folder, spare_port()
    stop(folder)


def version_at(deployment):
    return httpx.get(f"{deployment.url}/v1/model", timeout=5).json()["version"]


def test_healthy_deployment_replaces_the_old_one_and_a_failed_one_does_not(place):
    _, folder, _ = place
    first, second = (tiny_bundle(place[0] / f"b{strength}", strength=strength) for strength in (2.0, 3.0))
    old = put(place, first)
    assert version_at(old) == first.manifest.version
    assert put(place, first).pid == old.pid, "a healthy deployment of the same Bento is kept"

    with pytest.raises(DeploymentFailed, match="another model"):
        put(place, second, expected_version="not-this-one")
    with pytest.raises(DeploymentFailed, match="another label than its bundle did"):
        put(place, second, known={"a great film": "negative"})
    assert version_at(old) == first.manifest.version and psutil.pid_exists(old.pid)

    new = put(place, second)
    assert version_at(new) == second.manifest.version
    assert status(folder) == new and new.port == old.port
    assert not psutil.pid_exists(old.pid), "the old process has ended"
    assert stop(folder) and status(folder) is None and not stop(folder)
    assert not psutil.pid_exists(new.pid)


def test_deployment_that_does_not_start_raises_with_the_end_of_its_log(place):
    bundle = tiny_bundle(place[0] / "b")
    with pytest.raises(DeploymentFailed) as caught:
        deploy(
            "sentiment:not-there",
            bentoml_home=place[0] / "home",
            state_dir=place[1],
            expected_version="x",
            known={},
            settings=ServingSettings.load(port=place[2]),
        )
    assert "not-there" in str(caught.value)
    assert status(place[1]) is None
    assert bundle.manifest.version


def test_port_in_use_names_its_process(place):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", place[2]))
        holder.listen()
        with pytest.raises(DeploymentFailed, match=f"Port {place[2]} is in use") as caught:
            require_port(place[2])
    assert "GROUNDSWELL_SERVING__PORT" in (caught.value.remedy or "")
    require_port(place[2])


def test_damaged_bundle_is_not_built(tmp_path):
    bundle = tiny_bundle(tmp_path / "b")
    (bundle.directory / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(BundleError):
        build_bento(bundle.directory, tmp_path / "home")


def test_smoke_test_uses_a_key_that_is_revoked_afterwards(place, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_SERVING__KEYS", "true")
    made = put(place, tiny_bundle(place[0] / "bundle"))
    assert httpx.get(f"{made.url}/v1/model", timeout=5).status_code == 401
    left = keys_of(place[0]).list()
    assert left and all(key.name == "smoke test" and key.revoked_at for key in left)
