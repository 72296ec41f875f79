"""`WS /v1/live`: a snapshot, then changes; a viewer that skips frames ends with the same state; also with a real warehouse."""

import asyncio
import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as dial

from data.errors import WarehouseError
from serving.service.middleware.keys import id_of
from serving.service.panels import live
from serving.service.problems import Refused
from serving.warehouse.blocks import write_block
from tests.serving.alert_rows import alert_row, insert_alert
from tests.serving.running import serving_with_warehouse

NOW = datetime.now(UTC).replace(microsecond=0)


def cell(second, source, count):
    return {"second": second, "source": source, "negative": count, "neutral": 0, "positive": 0, "score": -float(count)}


class Viewer:
    """The state that a page builds from frames."""

    def __init__(self):
        self.seen, self.cells, self.alerts, self.first = 0, {}, {}, None

    def read(self, state):
        frame = json.loads(state.frame(self.seen))
        self.apply(frame)
        self.seen = state.tick
        return frame

    def apply(self, frame):
        self.first = self.first or frame["type"]
        if frame["type"] == "snapshot":
            self.cells, self.alerts = {}, {}
        for second, source, *values in frame["cells"]:
            self.cells[second, source] = values
        self.cells = {key: values for key, values in self.cells.items() if key[0] >= frame["since"] and any(values)}
        self.alerts |= {each["id"]: each for each in frame["alerts"]}


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["a", "b", ""]), st.integers(1, 3)), max_size=6),
            st.integers(0, 9),
            st.sets(st.integers(0, 2)),
        ),
        max_size=25,
    )
)
def test_viewer_that_skips_frames_ends_with_the_same_state(rounds):
    state, viewers = live.State(), [Viewer() for _ in range(3)]
    state.put_unavailable("not yet")
    state.publish()
    for cells, since, looking in rounds:
        rows = {(second, source): cell(second, source, count) for second, source, count in cells if second >= since}
        state.put_cells(list(rows.values()), since)
        state.publish()
        for number in looking:
            viewers[number].read(state)
    late = Viewer()
    late.read(state)
    for viewer in viewers:
        viewer.read(state)
        assert viewer.cells == late.cells


def test_frame_has_only_changes_and_is_shared_by_viewers_at_the_same_tick():
    state = live.State()
    state.put_cells([cell(second, "s", 1) for second in range(600)], 0)
    state.publish()
    whole = state.frame(0)
    state.put_cells([cell(599, "s", 2)], 599)
    state.publish()
    small = state.frame(1)
    assert len(json.loads(whole)["cells"]) == 600 and len(json.loads(small)["cells"]) == 1
    assert state.frame(1) is small and len(small) < len(whole) / 20
    state.publish()
    assert state.tick == 2, "without a change there is no new tick"


class StubWarehouse:
    """A stub of the warehouse queries; tests change its results."""

    def __init__(self):
        self.alerts, self.cells, self.normal, self.unavailable = [alert_row("a", NOW)], [], [], None

    async def ask(self, question, **_):
        if self.unavailable:
            raise WarehouseError(self.unavailable)
        return {"alerts": self.alerts, "live": self.cells, "messages": [], "normal": self.normal}[question]


def until(viewer, condition, within_s=150):
    """Read frames until a condition holds, with a time limit: frames that were not read before come first."""
    seen, end = Viewer(), time.monotonic() + within_s
    while time.monotonic() < end:
        frame = viewer.receive_json()
        seen.apply(frame)
        if condition(frame, seen):
            return seen
    raise AssertionError("no frame met the condition")


def app_of(warehouse, check_key=lambda _: None):
    return Starlette(routes=[WebSocketRoute("/v1/live", live.Live(warehouse.ask, check_key).view)])


@pytest.fixture
def quick(monkeypatch):
    for name in ("TICK_S", "ALERTS_S", "MESSAGES_S", "NORMAL_S", "SILENT_S"):
        monkeypatch.setattr(live, name, 0.01)


def test_viewer_gets_a_snapshot_changes_and_the_reason_of_an_outage(quick):
    warehouse = StubWarehouse()
    with TestClient(app_of(warehouse)) as client, client.websocket_connect("/v1/live") as viewer:
        until(viewer, lambda _, seen: "a" in seen.alerts)
        warehouse.alerts = [alert_row("a", NOW, closed_at=NOW), alert_row("b", NOW)]
        until(viewer, lambda _, seen: "b" in seen.alerts)
        with client.websocket_connect("/v1/live") as late:
            seen = until(late, lambda _, seen: "b" in seen.alerts)  # usually at once; a snapshot may be a tick old
            assert seen.first == "snapshot" and set(seen.alerts) == {"a", "b"}
            warehouse.unavailable = "connection refused"
            until(viewer, lambda frame, _: frame["away"] == "connection refused")
            until(late, lambda frame, _: frame["away"] == "connection refused")
            warehouse.unavailable, warehouse.cells = None, [cell(int(time.time()), "s", 7)]
            seen = until(viewer, lambda frame, seen: frame["away"] is None and seen.cells)
            assert [values[0] for values in seen.cells.values()] == [7]


def test_normal_ranges_and_acknowledgements_are_sent(quick):
    warehouse = StubWarehouse()
    values = {"mean": 0.1, "variance": 0.3, "drift": 0.0001, "threshold": 5.1}
    warehouse.normal = [{"source": "s", "at": at, **values} for at in (60, 120)]
    with TestClient(app_of(warehouse)) as client, client.websocket_connect("/v1/live") as viewer:
        until(viewer, lambda frame, _: frame["normal"] == {"s": [{"at": at, **values} for at in (60, 120)]})
        warehouse.alerts = [alert_row("a", NOW, acknowledged_by="desk 4", acknowledged_at=NOW, muted_until=NOW)]
        seen = until(viewer, lambda _, seen: seen.alerts.get("a", {}).get("acknowledged_by"))
        assert (seen.alerts["a"]["acknowledged_by"], seen.alerts["a"]["muted_by"]) == ("desk 4", None)
        assert seen.alerts["a"]["muted_until"]


def test_empty_warehouse_sends_an_empty_snapshot(quick):
    warehouse = StubWarehouse()
    warehouse.alerts = []
    with TestClient(app_of(warehouse)) as client, client.websocket_connect("/v1/live") as viewer:
        first = viewer.receive_json()
        assert first["type"] == "snapshot" and first["away"] is None and not first["cells"]


def test_viewer_that_connects_during_an_outage_gets_its_reason(quick):
    warehouse = StubWarehouse()
    warehouse.unavailable = "connection refused"
    with TestClient(app_of(warehouse)) as client, client.websocket_connect("/v1/live") as viewer:
        assert viewer.receive_json()["away"] == "connection refused"


def test_revoked_key_closes_the_connection(quick):
    valid = [True]

    def check(_):
        if not valid[0]:
            raise Refused(401, "revoked")

    with TestClient(app_of(StubWarehouse(), check)) as client, client.websocket_connect("/v1/live") as viewer:
        viewer.receive_json()
        valid[0] = False
        with pytest.raises(WebSocketDisconnect) as gone:
            for _ in range(200):
                viewer.receive_json()
        assert gone.value.code == 1008


def test_stuck_viewer_does_not_delay_others(monkeypatch):
    """A viewer whose connection is stuck is disconnected; meanwhile another gets all frames."""
    monkeypatch.setattr(live, "SEND_S", 0.5)

    class Socket:
        def __init__(self, stuck):
            self.scope, self.stuck, self.frames, self.closed = {}, stuck, [], asyncio.Event()

        async def accept(self, subprotocol):
            assert subprotocol is None

        async def receive(self):
            await self.closed.wait()
            raise WebSocketDisconnect

        async def send_text(self, frame):
            if self.stuck:
                await asyncio.Event().wait()
            self.frames.append(json.loads(frame))

        async def close(self, code, reason=None):
            self.code = code
            self.closed.set()

    async def play():
        warehouse = StubWarehouse()
        both = live.Live(warehouse.ask, lambda _: None)
        stuck, good = Socket(True), Socket(False)
        async with asyncio.TaskGroup() as group:
            viewing = [group.create_task(both.view(socket)) for socket in (stuck, good)]
            for turn in range(8):
                warehouse.cells = [cell(int(time.time()), "s", turn + 1)]
                await asyncio.sleep(0.1)
            await asyncio.wait_for(asyncio.shield(viewing[0]), 5)
            good.closed.set()
        assert stuck.code == 1013
        assert len(good.frames) >= 4

    asyncio.run(play())


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with serving_with_warehouse(tmp_path_factory.mktemp("live")) as (client, keys, warehouse):
        yield f"ws://{client.base_url.host}:{client.base_url.port}/v1/live", keys, warehouse


@pytest.mark.integration
def test_messages_and_alerts_in_the_warehouse_reach_a_viewer_of_the_service(service):
    url, keys, warehouse = service
    token = keys.add("desk", ["dashboard"])
    with dial(url, open_timeout=20, subprotocols=["groundswell", f"bearer.{token}"]) as viewer:
        assert viewer.subprotocol == "groundswell"
        seen, messages = Viewer(), []

        def until_sent(condition):
            while not condition():
                frame = json.loads(viewer.recv(timeout=100))
                seen.apply(frame)
                if frame["messages"] is not None:
                    messages[:] = frame["messages"]

        now = datetime.now(UTC)
        row = {
            "topic": "t",
            "partition": 0,
            "id": "m",
            "text": "<b>bold</b>",
            "source": "shop",
            "created_at": None,
            "predicted_at": now,
            "written_at": now,
            "label": "negative",
            "confidence": 0.9,
            "probabilities": [0.9, 0.05, 0.05],
            "sarcasm": None,
            "tier": "base",
            "model_version": "v",
            "produced_at": now,
        }
        for count in (3, 5):  # the second time two more, and the three again
            rows = [json.dumps(row | {"offset": n, "id": f"m{n}"}, default=datetime.isoformat).encode() for n in range(count)]
            write_block(warehouse, "t", rows, {0: (0, count - 1)})
            until_sent(lambda count=count: sum(values[0] for values in seen.cells.values()) == count)
        until_sent(lambda: len(messages) == 5)
        assert messages[0]["text"] == "<b>bold</b>"
        insert_alert(warehouse, "x", NOW, texts=["oh no"])
        until_sent(lambda: "x" in seen.alerts)
        assert seen.alerts["x"]["texts"] == ["oh no"] and seen.alerts["x"]["closed_at"] is None


@pytest.mark.integration
def test_key_rules_are_those_of_http(service):
    url, keys, _ = service
    wrong = keys.add("robot", ["classify"])
    for offered in (None, ["groundswell"], ["groundswell", "bearer.gs_made-up"], ["groundswell", f"bearer.{wrong}"]):
        with pytest.raises(InvalidStatus) as refused:
            dial(url, open_timeout=20, subprotocols=offered)
        assert refused.value.response.status_code == 403  # a WebSocket that is refused before it opens
    good = keys.add("desk", ["dashboard"])
    with pytest.raises(InvalidStatus):
        dial(url, origin="http://evil.example", subprotocols=["groundswell", f"bearer.{good}"])
    with dial(url, additional_headers={"Authorization": f"Bearer {good}"}, open_timeout=20) as viewer:
        viewer.recv(timeout=100)
        keys.revoke(id_of(good))
        with pytest.raises(ConnectionClosed) as gone:
            while True:
                viewer.recv(timeout=100)
        assert gone.value.rcvd.code == 1008
