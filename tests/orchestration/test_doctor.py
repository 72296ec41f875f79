"""`groundswell doctor`: whose API is running, which texts would be used, and the first settings error ends it."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from data.errors import SettingsError
from orchestration.cli import doctor
from tests.hub_stub import Hub
from tests.make import rows, write_dataset
from tests.serving.running import spare_port

ROOT = Path(__file__).parents[2]
_SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"version": "tiny-1"}).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def api_of(var):
    """Run a process that responds as the API of this var folder does."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GROUNDSWELL_")}
    environment |= {"GROUNDSWELL_PATHS__VAR_DIR": str(var)} if var else {}
    process = subprocess.Popen([sys.executable, "-c", _SERVER], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@contextmanager
def server_with(status, body=b""):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_): ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def api(monkeypatch, port):
    monkeypatch.setenv("GROUNDSWELL_SERVING__PORT", str(port))
    return doctor._api()


def test_the_api_of_this_var_folder_is_named_with_its_version(tmp_path, monkeypatch):
    with api_of(tmp_path / "var") as port:
        found = api(monkeypatch, port)
    assert found.state == "ok" and found.found == f"serves tiny-1 from {tmp_path / 'var'}"


def test_the_api_of_another_installation_is_not_taken_for_this_ones(tmp_path, monkeypatch):
    with api_of("/elsewhere/var") as port:
        found = api(monkeypatch, port)
    assert found.state == "missing" and "another installation's: serves tiny-1 from /elsewhere/var" in found.found
    assert "GROUNDSWELL_SERVING__PORT" in found.remedy


def test_api_with_an_unknown_var_folder_is_ok(monkeypatch):
    with api_of(None) as port:
        found = api(monkeypatch, port)
    assert found.state == "ok" and found.found == "serves tiny-1; its var folder is unknown"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, b"", "no Groundswell API: HTTP status 404"),
        (200, b"<html>", "another program uses this port"),
        (200, b"[1]", "another program uses this port"),
        (200, json.dumps({"name": "x"}).encode(), "no Groundswell API"),
        (401, b"{}", "serves a model (it requires an API key)"),
    ],
)
def test_another_server_on_the_port_is_reported(status, body, message, monkeypatch):
    with server_with(status, body) as port:
        assert message in api(monkeypatch, port).found


def test_port_without_a_listener_is_optional(monkeypatch):
    found = api(monkeypatch, spare_port())
    assert (found.state, found.found) == ("optional", "not running")


def test_the_texts_that_would_be_used(tmp_path, monkeypatch):
    assert "own small sample: HF_HUB_OFFLINE is set" in doctor._data().found
    write_dataset(tmp_path, rows(), "airline")
    monkeypatch.setenv("GROUNDSWELL_DATA__DIR", str(tmp_path))
    assert doctor._data().found == f"the data folder {tmp_path}. 1 datasets" and doctor._data().state == "ok"
    monkeypatch.setenv("GROUNDSWELL_DATA__DIR", str(tmp_path / "empty"))
    (tmp_path / "empty").mkdir()
    assert doctor._data().state == "missing"
    monkeypatch.delenv("GROUNDSWELL_DATA__DIR")
    monkeypatch.setenv("GROUNDSWELL_PROFILE", "production")
    assert "the Hugging Face hub" in doctor._data().found
    monkeypatch.setenv("GROUNDSWELL_DATA__ORIGIN", "local")
    assert "does not train on the sample" in doctor._guarded("labeled texts", doctor._data).found


def test_the_profiles_are_listed():
    assert doctor._profile().found == "offline (GROUNDSWELL_PROFILE; there are also hub, production)"


def test_the_first_settings_error_ends_it(monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_LAKEHOUSE__FILES_PER_BATCH", "many")
    with pytest.raises(SettingsError, match=r"lakehouse\.files_per_batch"):
        doctor.examine()


def test_offline_sends_no_request_to_the_hub(tmp_path, monkeypatch):
    with Hub(tmp_path / "hub") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        doctor._data()
        assert hub.requests == []
