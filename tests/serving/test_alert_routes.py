"""Acknowledging and muting alerts by HTTP: checked rights, stored in the warehouse, sent on the WebSocket at once."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from websockets.sync.client import connect as dial

from tests.models import tiny_bundle
from tests.serving.alert_rows import insert_alert
from tests.serving.running import serving, serving_with_warehouse

pytestmark = pytest.mark.integration
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with keys, and a warehouse with three alerts."""
    with serving_with_warehouse(tmp_path_factory.mktemp("alert-routes")) as (client, keys, warehouse):
        for name, source in (("a", "shop"), ("b", "shop"), ("c", "it's/a \\ source")):
            insert_alert(warehouse, name, NOW, source=source)
        yield client, {name: keys.add(name, [name]) for name in ("admin", "dashboard", "classify")}


def ask(service, method, path, body=None, *, scope="admin"):
    client, tokens = service
    headers = {"authorization": f"Bearer {tokens[scope]}"} if scope else {}
    return client.request(method, f"/v1/alerts/{path}", json=body, headers=headers)


def test_alert_is_acknowledged_once_and_every_viewer_sees_by_whom(service):
    client, tokens = service
    assert ask(service, "GET", "a", scope="dashboard").json()["acknowledged_by"] is None
    url = f"ws://{client.base_url.host}:{client.base_url.port}/v1/live"
    with dial(url, open_timeout=20, subprotocols=["groundswell", f"bearer.{tokens['dashboard']}"]) as viewer:
        seen = {}
        while "a" not in seen:
            seen |= {each["id"]: each for each in json.loads(viewer.recv(timeout=100))["alerts"]}
        assert seen["a"]["acknowledged_by"] is None
        response = ask(service, "POST", "a/acknowledge", {"by": " desk 4 "})
        assert response.status_code == 200 and response.json()["acknowledged_by"] == "desk 4"
        while seen["a"]["acknowledged_by"] != "desk 4":
            seen |= {each["id"]: each for each in json.loads(viewer.recv(timeout=100))["alerts"]}
        at = response.json()["acknowledged_at"]
        again = ask(service, "POST", "a/acknowledge", {"by": "desk 5"}).json()
        assert (again["acknowledged_by"], again["acknowledged_at"]) == ("desk 4", at), "the first one counts"
        assert seen["b"]["muted_until"] is None
        muted = ask(service, "POST", "a/mute", {"minutes": 30, "by": "desk 4"}).json()
        until = datetime.fromisoformat(muted["muted_until"]) - datetime.now(UTC)
        assert timedelta(minutes=29) < until <= timedelta(minutes=30) and muted["muted_by"] == "desk 4"
        while not seen["b"]["muted_until"]:  # the other alert of the source too
            seen |= {each["id"]: each for each in json.loads(viewer.recv(timeout=100))["alerts"]}
        assert seen["c"]["muted_until"] is None
        assert ask(service, "POST", "a/mute", {"minutes": 0, "by": "desk 4"}).json()["muted_until"] is None


def test_key_name_is_used_without_a_given_name(service):
    assert ask(service, "POST", "c/acknowledge", {}).json()["acknowledged_by"] == "admin"
    assert ask(service, "POST", "c/mute", {"minutes": 1}).json()["muted_by"] == "admin"


@pytest.mark.parametrize(
    ("method", "path", "body", "scope", "status"),
    [
        ("GET", "a", None, None, 401),
        ("GET", "a", None, "classify", 403),
        ("POST", "a/acknowledge", {"by": "x"}, "dashboard", 403),
        ("POST", "a/mute", {"minutes": 5, "by": "x"}, "dashboard", 403),
        ("POST", "a/mute", {"minutes": 5, "by": "x"}, None, 401),
        ("GET", "none", None, "dashboard", 404),
        ("POST", "none/acknowledge", {"by": "x"}, "admin", 404),
        ("POST", "' OR 1 = 1 --/mute", {"minutes": 5}, "admin", 404),
        ("POST", "a/mute", {"minutes": -1}, "admin", 422),
        ("POST", "a/mute", {"minutes": 100_000}, "admin", 422),
        ("POST", "a/mute", {"by": "x"}, "admin", 422),
        ("POST", "a/acknowledge", {"who": "x"}, "admin", 422),
        ("POST", "a/acknowledge", {"by": "x" * 201}, "admin", 422),
        ("GET", "a/acknowledge", None, "admin", 405),
    ],
)
def test_forbidden_or_invalid_request_is_refused(service, method, path, body, scope, status):
    response = ask(service, method, path, body, scope=scope)
    assert response.status_code == status and response.headers["content-type"] == "application/problem+json", response.text


def test_name_is_required_without_keys_and_a_missing_warehouse_is_reported(tmp_path):
    with serving(tiny_bundle(tmp_path / "tiny"), tmp_path) as (client, _):
        unnamed = client.post("/v1/alerts/a/acknowledge", json={})
        assert unnamed.status_code == 422 and unnamed.json()["detail"].startswith("by: ")
        unavailable = client.post("/v1/alerts/a/acknowledge", json={"by": "desk 4"})
        assert unavailable.status_code == 503 and "warehouse" in unavailable.json()["detail"]
