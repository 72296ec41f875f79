"""Dagster's UI behind the guard: other sites' pages start nothing, its own pages work, runs of commands can be run again."""

import functools
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.serving.dashboard_harness import browsing
from tests.serving.running import spare_port
from tests.waiting import until, until_passes

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
SELECTOR = '{repositoryName: "__repository__", repositoryLocationName: "orchestration.definitions"'
START = f'mutation {{ startSensor(sensorSelector: {SELECTOR}, sensorName: "new_labels"}}) {{ __typename }} }}'
STATE = f"""{{ sensorOrError(sensorSelector: {SELECTOR}, sensorName: "new_labels"}}) {{
  ... on Sensor {{ sensorState {{ status }} }} }} }}"""


class Ui:
    """The server, and queries as its own pages send them."""

    def __init__(self, url, process):
        self.url, self.process = url, process

    def ask(self, query, **variables):
        reply = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60)
        assert reply.status_code == 200, reply.text
        assert "errors" not in reply.json(), reply.text
        return reply.json()["data"]

    def sensor(self):
        return self.ask(STATE)["sensorOrError"]["sensorState"]["status"]


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ui")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GROUNDSWELL_")}
    env = {**plain, "GROUNDSWELL_PATHS__VAR_DIR": str(folder / "var"), "HF_HUB_OFFLINE": "1", "GX_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-m", "orchestration.cli"]
    # One run that succeeds, then one that fails.
    subprocess.run([*command, "data"], cwd=ROOT, env=env, check=True, capture_output=True)
    failing = env | {"GROUNDSWELL_DATA__DATASETS": '["airline"]'}
    assert subprocess.run([*command, "data"], cwd=ROOT, env=failing, check=False, capture_output=True).returncode == 1
    port = spare_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "dagster", "--port", str(port)], cwd=ROOT, env=env, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        until_passes(
            lambda: httpx.get(f"{url}/server_info", timeout=5), retry=httpx.HTTPError, running=lambda: process.poll() is None
        )
        yield Ui(url, process)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 0, (folder / "log").read_text()[-2000:]
        assert not psutil.wait_procs(children, timeout=120)[1], "Ctrl-C leaves nothing running"
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()


@pytest.mark.parametrize(
    "request_",
    [
        {
            "method": "POST",
            "params": {"query": START},
            "headers": {"origin": "https://evil.example", "content-type": "text/plain"},
        },
        {"method": "POST", "params": {"query": START}, "headers": {"content-type": "text/plain"}},
        {"method": "POST", "params": {"query": START}},
        {"method": "POST", "data": {"query": START}},
        {"method": "POST", "json": {"query": START}, "headers": {"origin": "https://evil.example"}},
        {"method": "POST", "json": {"query": START}, "headers": {"sec-fetch-site": "cross-site"}},
        {"method": "POST", "json": {"query": START}, "headers": {"host": "evil.example"}},
        {"method": "POST", "content": START, "headers": {"content-type": "application/graphql"}},
        {"method": "GET", "params": {"query": START}},
        {"method": "GET", "params": {"query": START}, "headers": {"sec-fetch-site": "cross-site", "sec-fetch-dest": "image"}},
    ],
)
def test_requests_that_another_sites_page_can_send_are_refused(ui, request_):
    assert httpx.request(url=f"{ui.url}/graphql", timeout=30, **request_).status_code == 403
    assert ui.sensor() == "STOPPED"


def test_reports_of_assets_are_guarded_too(ui):
    sent = httpx.post(f"{ui.url}/report_asset_materialization/data/splits", headers={"sec-fetch-site": "cross-site"}, timeout=30)
    assert sent.status_code == 403


def test_subscriptions_of_other_origins_are_refused(ui):
    address = ui.url.replace("http", "ws") + "/graphql"
    with pytest.raises(InvalidStatus) as caught:
        connect(address, origin="https://evil.example", subprotocols=["graphql-ws"]).close()
    assert caught.value.response.status_code == 403
    with connect(address, origin=ui.url, subprotocols=["graphql-ws"]) as socket:
        socket.send('{"type": "connection_init"}')
        assert "connection_ack" in socket.recv(timeout=100)


@pytest.fixture(scope="module")
def browser():
    with browsing() as opened:
        yield opened


def test_a_page_of_another_site_in_a_real_browser_starts_nothing(ui, browser, tmp_path):
    (tmp_path / "index.html").write_text("<!doctype html><title>evil</title>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://localhost:{server.server_address[1]}/")  # another site than 127.0.0.1
        statuses = []
        page.on("response", lambda response: statuses.append(response.status) if "/graphql" in response.url else None)
        attack = """async ([url, query]) => {
          const target = url + '/graphql?query=' + encodeURIComponent(query)
          await fetch(target, {method: 'POST', mode: 'no-cors', headers: {'content-type': 'text/plain'}, body: 'x'})
          await new Promise(done => { const image = new Image(); image.onload = image.onerror = done; image.src = target })
          try { await fetch(url + '/graphql', {method: 'POST', headers: {'content-type': 'application/json'},
                body: JSON.stringify({query})}) } catch (error) {}
        }"""
        page.evaluate(attack, [ui.url, START])
        page.evaluate(
            """([url, query]) => { const form = document.createElement('form'); form.method = 'POST'
            form.action = url + '/graphql?query=' + encodeURIComponent(query); document.body.append(form); form.submit() }""",
            [ui.url, START],
        )
        expect(page.get_by_text("Pages of other sites may not")).to_be_visible()
        server.shutdown()
    assert statuses and set(statuses) == {403}
    assert ui.sensor() == "STOPPED"


def finished(ui, run_id):
    query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"

    def ended():
        status = ui.ask(query, id=run_id)["runOrError"]["status"]
        return status if status in {"SUCCESS", "FAILURE"} else None

    return until(ended, every_s=0.5)


RUNS = """{ runsOrError(filter: {tags: [{key: ".dagster/repository", value: "__repository__@orchestration.definitions"}]}) {
  ... on Runs { results { runId status pipelineName canTerminate parentPipelineSnapshotId hasReExecutePermission } } } }"""


def test_runs_of_commands_are_in_the_timeline_and_are_run_again_whole_and_from_failure(ui, browser):
    found = {
        run["status"]: run["runId"] for run in ui.ask(RUNS)["runsOrError"]["results"] if run["pipelineName"] == "prepare_data"
    }
    assert set(found) == {"SUCCESS", "FAILURE"}
    again = """mutation($parent: String!) {
      launchRunReexecution(reexecutionParams: {parentRunId: $parent, strategy: FROM_FAILURE}) {
      __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
    launched = ui.ask(again, parent=found["FAILURE"])["launchRunReexecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    assert finished(ui, launched["run"]["runId"]) == "SUCCESS"

    page = browser.new_page(viewport={"width": 1500, "height": 950})
    refused = []
    page.on("response", lambda response: refused.append(response.url) if response.status == 403 else None)
    page.goto(f"{ui.url}/overview")
    expect(page.get_by_role("link", name="prepare_data")).to_be_visible()
    expect(page.get_by_text("Join the Dagster community")).to_have_count(0)
    page.goto(f"{ui.url}/runs/{found['SUCCESS']}")
    page.get_by_role("button", name=re.compile("Re-execute all")).click(timeout=60_000)
    page.wait_for_url(lambda url: "/runs/" in url and found["SUCCESS"] not in url, timeout=60_000)
    assert finished(ui, page.url.rpartition("/")[2].partition("?")[0]) == "SUCCESS"
    expect(page.get_by_text("RUN_SUCCESS").first).to_be_visible()  # comes by the subscription
    assert not refused


def test_second_server_on_the_port_fails_with_a_message(ui):
    command = [sys.executable, "-m", "orchestration.cli", "dagster", "--port", ui.url.rpartition(":")[2]]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert second.returncode == 1 and "is in use" in second.stderr
