"""Load generator: a process that sends requests and times them; `load.py` starts it.

Open loop (`--rate`): each request has a due time, and its latency is measured from that time. If the server stalls, every request
due during the stall counts as slow. Closed loop (`--callers`): each caller sends its next request when it has the response to the
last one.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

REJECTED = (429, 503)
_JSON = {"content-type": "application/json"}


class Record:
    """What happened to each request."""

    def __init__(self, count: int) -> None:
        self.ms: list[float] = []
        """Latencies of the requests with status 200."""
        self.refused_ms: list[float] = []
        """Latencies of the rejected requests (429 or 503)."""
        self.late_ms: list[float] = []
        """How long after its due time each request was sent: the delay of the generator itself."""
        self.failed = 0
        self.responses: list[Any] = [None] * count

    async def send(self, session: aiohttp.ClientSession, url: str, index: int, body: bytes, due: float, keep: bool) -> None:
        """Send one request; its time runs from `due`."""
        self.late_ms.append(1e3 * (time.perf_counter() - due))
        try:
            async with session.post(url, data=body, headers=_JSON) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError):
            self.failed += 1
            return
        if response.status == 200:
            self.ms.append(1e3 * (time.perf_counter() - due))
            if keep:
                self.responses[index] = json.loads(content)
        elif response.status in REJECTED:
            self.refused_ms.append(1e3 * (time.perf_counter() - due))
        else:
            self.failed += 1


async def at_rate(url: str, bodies: list[bytes], rate: float, timeout_s: float) -> tuple[Record, float]:
    """Send each body when it is due, whether or not earlier requests have a response."""
    record = Record(len(bodies))
    async with _session(timeout_s) as session:
        start = time.perf_counter() + 0.05
        tasks = []
        for index, body in enumerate(bodies):
            due = start + index / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(record.send(session, url, index, body, due, keep=False)))
        await asyncio.gather(*tasks)
    return record, time.perf_counter() - start


async def by_callers(
    url: str, bodies: list[bytes], callers: int, timeout_s: float, seconds: float | None, keep: bool
) -> tuple[Record, float]:
    """Send the bodies in order; each free caller takes the next one. Stop after all bodies, or after `seconds` if given."""
    record = Record(len(bodies))
    waiting = iter(enumerate(bodies))
    async with _session(timeout_s) as session:
        start = time.perf_counter()

        async def caller() -> None:
            for index, body in waiting:
                await record.send(session, url, index, body, time.perf_counter(), keep)
                if seconds is not None and time.perf_counter() - start > seconds:
                    return

        await asyncio.gather(*(caller() for _ in range(callers)))
    return record, time.perf_counter() - start


def _session(timeout_s: float) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=timeout_s), auto_decompress=False
    )


def main() -> None:
    """Read the bodies, send them, print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("bodies", type=Path, help="file with one JSON body per line")
    parser.add_argument("--rate", type=float, help="open loop: requests per second")
    parser.add_argument("--callers", type=int, default=1, help="closed loop: callers that wait for their responses (default 1)")
    parser.add_argument("--seconds", type=float, help="closed loop: stop after this time")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds per request (default 10)")
    parser.add_argument("--keep", action="store_true", help="print the responses too")
    given = parser.parse_args()
    bodies = given.bodies.read_bytes().splitlines()
    work = (
        at_rate(given.url, bodies, given.rate, given.timeout)
        if given.rate
        else by_callers(given.url, bodies, given.callers, given.timeout, given.seconds, given.keep)
    )
    with asyncio.Runner() as runner:
        record, wall_s = runner.run(work)
    result = {
        "ms": record.ms,
        "late_ms": record.late_ms,
        "refused_ms": record.refused_ms,
        "failed": record.failed,
        "wall_s": wall_s,
        "cpu_s": time.process_time(),
    }
    json.dump(result | ({"responses": record.responses} if given.keep else {}), sys.stdout)


if __name__ == "__main__":
    main()
