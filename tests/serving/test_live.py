"""`WS /v1/live`: a snapshot, then what changes; from the real warehouse, through the real service."""

import json
import threading
from datetime import UTC, datetime

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient

from data.errors import WarehouseError
from serving.service import live
from serving.warehouse.connect import connect
from serving.warehouse.owner import serve_warehouse
from tests.models import tiny_bundle
from tests.serving.running import serving

NOW = datetime.now(UTC).replace(microsecond=0)


def alert(name, **changes):
    return {"id": name, "detected_at": NOW, "closed_at": None, "source": "s", **changes}


def test_a_snapshot_then_each_change_and_word_when_the_warehouse_goes(monkeypatch):
    monkeypatch.setattr(live, "POLL_S", 0.01)
    now = {"alerts": [alert("a")]}

    def read():
        if now["alerts"] is None:
            raise WarehouseError("gone for tea")
        return now["alerts"]

    app = Starlette(routes=[WebSocketRoute("/v1/live", live.Live(read).view)])
    with TestClient(app) as client, client.websocket_connect("/v1/live") as viewer:
        assert [found["id"] for found in viewer.receive_json()["alerts"]] == ["a"]
        now["alerts"] = [alert("a", closed_at=NOW), alert("b")]
        assert {(m["type"], m["alert"]["id"]) for m in (viewer.receive_json(), viewer.receive_json())} == {
            ("alert", "a"),
            ("alert", "b"),
        }
        with client.websocket_connect("/v1/live") as late:
            assert len(late.receive_json()["alerts"]) == 2
            now["alerts"] = None
            assert viewer.receive_json() == late.receive_json() == {"type": "away", "reason": "gone for tea"}
            now["alerts"] = [alert("c")]
            assert viewer.receive_json()["type"] == late.receive_json()["type"] == "snapshot"


@pytest.mark.integration
def test_an_alert_in_the_warehouse_reaches_a_viewer_of_the_service(tmp_path):
    from websockets.sync.client import connect as dial

    bundle = tiny_bundle(tmp_path / "tiny")
    stop, ready = threading.Event(), threading.Event()
    owner = threading.Thread(
        target=serve_warehouse, args=(tmp_path / "var", 0), kwargs={"stop": stop, "ready": lambda _: ready.set()}
    )
    owner.start()
    try:
        assert ready.wait(60)
        with serving(bundle, tmp_path) as (client, _), connect(tmp_path / "var", own=False) as warehouse:
            url = f"ws://{client.base_url.host}:{client.base_url.port}/v1/live"
            with dial(url, open_timeout=20) as viewer:
                assert json.loads(viewer.recv(timeout=20)) == {"type": "snapshot", "alerts": []}
                warehouse.command(
                    "INSERT INTO alerts (id, source, direction, started_at, detected_at, z, moving_average, baseline_mean, "
                    "baseline_std, volume, window_s, texts, revision) "
                    "VALUES ('x', 's', 'down', now64(3), now64(3), -6, -0.4, 0.1, 0.02, 300, 3, ['oh no'], 1)"
                )
                told = json.loads(viewer.recv(timeout=20))
                assert told["type"] == "alert" and told["alert"]["texts"] == ["oh no"] and told["alert"]["direction"] == "down"
    finally:
        stop.set()
        owner.join(30)
