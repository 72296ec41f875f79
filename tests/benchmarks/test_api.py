"""The API benchmark's arithmetic, and that its open loop does not hide a stalled server."""

import asyncio
import json
import math
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from aiohttp import web

from benchmarks.api.curves import plot_curves
from benchmarks.api.environments import PEERS
from benchmarks.api.load import Load, Loader, parse_generator, parse_wrk
from benchmarks.api.servers import Server, Spec, start
from benchmarks.harness.figures import Goal, percentile, ratios, spread
from benchmarks.harness.texts import Texts, repeating_trace
from tests.waiting import until

WRK = """Running 3s test @ http://127.0.0.1:4103/classify
  1 threads and 64 connections
  1310 requests in 3.00s, 300.00KB read
  Non-2xx or 3xx responses: 10
RESULT {"requests": 1310, "wall_s": 2.600000, "non_2xx": 10, "failed": 2, "ms": {"50": 140.5, "95": 201.0, "99": 240.25}}
"""

SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        content = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = json.dumps({"label": "positive" if "good" in content["text"] else "negative"}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_percentile_is_a_measured_value():
    hundred = [float(value) for value in range(100, 0, -1)]
    assert [percentile(hundred, which) for which in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([7.0], 99) == percentile([7.0], 1) == 7
    assert percentile([1.0, 2.0], 50) == 1
    assert math.isnan(percentile([], 50))


def test_ratios_are_computed_per_round_and_shown_with_their_spread():
    found = ratios([100, 50, 300], [50, 25, 100])
    assert found == [2, 2, 3]
    assert spread(found) == (2, 2, 3)
    goal = Goal("requests/s", found, 1.5, unit="×")
    assert goal.reached
    assert goal.measured() == "2× [2, 3]"
    assert goal.to_dict()["goal"] == "≥ 1.5×"
    assert not Goal("p95", [31.0, 29.0, 40.0], 30, "≤", " ms").reached
    assert Goal("shown only", found).reached is None


def test_output_of_wrk_is_parsed():
    load = parse_wrk(WRK)
    assert (load.completed, load.refused, load.failed) == (1300, 10, 2)
    assert load.per_s == pytest.approx(500)
    assert load.ms == {"50": 140.5, "95": 201.0, "99": 240.25}


def test_output_of_the_generator_is_parsed():
    found = {"ms": [3.0, 1.0, 2.0], "late_ms": [0.5], "refused_ms": [0.3], "failed": 2, "wall_s": 1.5, "cpu_s": 0.1}
    load = parse_generator(json.dumps(found))
    assert (load.completed, load.refused, load.failed, load.per_s) == (3, 1, 2, 2.0)
    assert load.ms == {"50": 2.0, "95": 3.0, "99": 3.0}


def test_cpu_is_per_completed_request():
    load = Load(completed=200, refused=100, failed=0, wall_s=1, ms={}, cpu_s=0.5)
    assert load.cpu_ms == 2.5
    assert "responses" not in load.to_dict()


def test_trace_repeats_the_requested_share():
    trace = repeating_trace(3000, 0.3, seed=7)
    repeats = [(place, first) for place, first in enumerate(trace) if place != first]
    assert len(repeats) == 900
    assert all(first < place and trace[first] == first for place, first in repeats)
    assert trace == repeating_trace(3000, 0.3, seed=7) != repeating_trace(3000, 0.3, seed=8)


def test_texts_never_repeat_and_twins_have_the_same_length():
    texts = Texts(["so good", "so bad"])
    first = texts.take(5)
    twins = texts.twins(first)
    assert len({*first, *twins, *texts.take(5)}) == 15
    assert list(map(len, first)) == list(map(len, twins))
    assert [text.rpartition(" ")[0] for text in first] == [text.rpartition(" ")[0] for text in twins]


def test_plot_is_written(tmp_path):
    path = plot_curves({"ours": [(0.25, 12.0), (0.95, 80.0)], "peer": [(0.25, 30.0)]}, tmp_path / "bench" / "api.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_peer_versions_are_pinned():
    for file in PEERS.glob("*.txt"):
        assert all("==" in line for line in file.read_text().splitlines()), file


@contextmanager
def stalling(after_s: float, for_s: float):
    """Yield the address of a server that responds at once, except in one stall that starts `after_s` after its first request.

    The route /full always responds 503.
    """
    first: list[float] = []
    stalled: list[bool] = []

    async def respond(_: web.Request) -> web.Response:
        first.append(time.monotonic())
        if not stalled and time.monotonic() - first[0] > after_s:
            stalled.append(True)
            time.sleep(for_s)  # blocks the event loop and so every other request
        return web.json_response({})

    async def full(_: web.Request) -> web.Response:
        return web.Response(status=503)

    async def listen() -> web.AppRunner:
        app = web.Application()
        app.add_routes([web.post("/", respond), web.post("/full", full)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@pytest.mark.integration
def test_open_loop_counts_the_delay_of_every_request_due_during_a_stall(tmp_path):
    bodies = tmp_path / "bodies"
    bodies.write_text("{}\n" * 400)
    loader = Loader([])
    with stalling(after_s=1, for_s=1) as url:
        open_loop = loader.generate(url, bodies, "--rate", 100)
    with stalling(after_s=1, for_s=1) as url:
        closed = loader.generate(url, bodies, "--callers", 1, "--seconds", 3)
    # A hundred of the 400 requests were due in the second of the stall; their waits range from zero to the whole second.
    assert open_loop.completed == 400
    assert open_loop.ms["95"] > 600
    assert open_loop.ms["99"] > 800
    assert open_loop.ms["50"] < open_loop.ms["95"] - 200  # most were not due during the stall
    # A single caller that waits sends nothing during the stall and sees one slow response: a closed loop hides the stall.
    assert closed.ms["95"] < open_loop.ms["95"] - 200


@pytest.mark.integration
def test_rejected_requests_are_not_errors_and_late_responses_time_out(tmp_path):
    (tmp_path / "bodies").write_text("{}\n" * 20)
    loader = Loader([])
    with stalling(after_s=-1, for_s=2) as url:
        full = loader.generate(f"{url}full", tmp_path / "bodies", "--rate", 100)
        stalled = loader.generate(url, tmp_path / "bodies", "--rate", 100, "--timeout", 0.5)
    assert (full.completed, full.refused, full.failed) == (0, 20, 0)
    assert (stalled.completed, stalled.refused, stalled.failed) == (0, 0, 20)


@pytest.mark.integration
def test_server_is_started_paused_between_measurements_and_stopped(tmp_path):
    (tmp_path / "serve.py").write_text(SERVER)
    spec = Spec(
        "tiny",
        "Tiny",
        lambda port: [sys.executable, "serve.py", str(port)],
        tmp_path,
        {},
        "/",
        lambda texts: json.dumps({"text": texts[0]}),
        lambda response: [response["label"]],
    )
    server: Server = start(spec, tmp_path / "logs", [("a good day", "positive"), ("a day", "negative")])
    try:
        server.pause()
        load = Loader([]).all_of(server, [[f"good {n}"] for n in range(50)], callers=4)
        assert load.completed == 50
        assert {response["label"] for response in load.responses} == {"positive"}
        assert load.cpu_s >= 0  # measured in kernel ticks: this little work may take none
        until(lambda: server.tree()[0].status() == "stopped")  # a signal is not delivered at once
    finally:
        server.stop()
    assert server.process.poll() is not None
