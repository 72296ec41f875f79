"""A deployment takes the port of the one before without refusing a request, and nothing is left over, whatever is killed."""

import os
import signal
import subprocess
import sys

import httpx
import psutil
import pytest

from serving import deployment as module
from serving.deployment import CHANGE, status, stop
from serving.processes import port_is_taken
from serving.service.build import build_bento
from tests.models import tiny_bundle
from tests.serving.deploying import PROCESSES, Callers, put, workers_of
from tests.serving.running import spare_port
from tests.waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "var" / "deployment"
    yield tmp_path, folder, spare_port()
    stop(folder)


def two_bundles(folder):
    return [tiny_bundle(folder / f"b{strength}", strength=strength) for strength in (2.0, 3.0)]


def test_promotion_and_rollback_under_load_refuse_nothing(place):
    first, second = two_bundles(place[0])
    old = put(place, first)
    with Callers(old.url, 8, pauses_s=(0, 0, 0, 0, 0, 2.5, 2.5, 2.5)) as callers:
        for bundle in (second, first):
            callers.forget()
            made = put(place, bundle)
            until(lambda version=bundle.manifest.version: callers.all_have_seen(version))
            assert not psutil.pid_exists(old.pid), "the old process has ended"
            callers.forget()
            until(lambda version=bundle.manifest.version: callers.all_have_seen(version))
            assert all(versions == {bundle.manifest.version} for versions in callers.versions)
            old = made
    assert not callers.failures, callers.failures[:3]
    assert callers.requests > 100


def test_promotion_that_was_killed_is_finished_by_the_next(place, monkeypatch):
    first, second = two_bundles(place[0])
    old = put(place, first)
    for killed_at in ("prove", "state", "finish"):
        with monkeypatch.context() as patched:
            _kill_at(patched, killed_at)
            with pytest.raises(Killed):
                put(place, second)
        assert httpx.post(f"{old.url}/v1/classify", json={"texts": ["a great film"]}, timeout=60).status_code == 200
        changed = module.read_json(place[1] / CHANGE)
        assert len(changed) == 2 and all(psutil.pid_exists(one["pid"]) for one in changed), "both serve"
        old = put(place, first)
        left = [one["pid"] for one in changed if one["pid"] != old.pid]
        assert not any(psutil.pid_exists(pid) for pid in left) and not (place[1] / CHANGE).exists()
        assert httpx.get(f"{old.url}/v1/model", timeout=60).json()["version"] == first.manifest.version
    assert stop(place[1]) and not port_is_taken(place[2])


class Killed(BaseException):
    """Stands for the end of the program that deploys."""


def _kill_at(patched, place):
    """End the deploying program there, with none of its clean-up."""

    def killed(*_, **__):
        patched.setattr(module, "_end", lambda *_: None)
        patched.setattr(module.Path, "unlink", lambda *_, **__: None)
        raise Killed

    if place == "prove":
        patched.setattr(module, "_prove", killed)
    elif place == "state":
        write = module.write_json
        patched.setattr(module, "write_json", lambda path, value: killed() if path.name == module.STATE else write(path, value))
    else:
        finish, calls = module._finish_change, []
        patched.setattr(module, "_finish_change", lambda *given: killed() if calls else (calls.append(1), finish(*given)))


def test_requests_wait_while_a_killed_worker_is_replaced(place):
    made = put(place, two_bundles(place[0])[0])
    workers = workers_of(made)
    for worker in workers:
        worker.kill()
        worker.wait(60)
    response = httpx.post(f"{made.url}/v1/classify", json={"texts": ["a great film"]}, timeout=600)
    assert response.status_code == 200 and not set(workers) & set(workers_of(made))
    assert put(place, two_bundles(place[0] / "again")[1]).own_port != made.own_port, "the new worker gives its port away"


def test_process_whose_parent_was_killed_ends(place):
    made = put(place, two_bundles(place[0])[0])
    workers = workers_of(made)
    assert len(workers) == PROCESSES
    os.kill(made.pid, signal.SIGKILL)
    for worker in workers:
        worker.wait(120)
    assert status(place[1]) is None
    until(lambda: not port_is_taken(place[2]))


def test_deployment_of_a_version_without_handover_is_replaced_or_restored(place):
    """Such a process has no socket for commands: it is stopped first, and started again if the new one fails."""
    first, second = two_bundles(place[0])
    tag = build_bento(first.directory, place[0] / "home")
    port, folder = place[2], place[1]
    folder.mkdir(parents=True)
    environment = module._child_environment(place[0] / "home") | {"GROUNDSWELL_PATHS__VAR_DIR": str(folder.parent)}
    process = subprocess.Popen(
        [sys.executable, "-m", "bentoml", "serve", tag, "--port", str(port)],
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    started = psutil.Process(process.pid).create_time()
    old = module.Deployment(process.pid, started, port, first.manifest.version, tag, "", "")
    module.write_json(
        folder / "state.json", {key: value for key, value in vars(old).items() if key not in ("own_port", "control")}
    )
    until(lambda: module._ready(old))
    with pytest.raises(module.DeploymentFailed, match="another model"):
        put(place, second, expected_version="not-this-one")
    process.wait(60)
    restored = status(folder)
    assert restored and restored.version == first.manifest.version and restored.control
    assert put(place, second).version == second.manifest.version
