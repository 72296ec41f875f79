"""A process that sends requests and times them; `load.py` starts it.

At a fixed rate each request has a moment at which it is due, and its time runs from there: a server that stalls delays every
request that was due meanwhile, and all of them are seen. With callers instead, each sends its next request when it has an answer.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

REFUSALS = (429, 503)
_JSON = {"content-type": "application/json"}


class Record:
    """What happened to each request."""

    def __init__(self, count: int) -> None:
        self.ms: list[float] = []
        """Of those that were answered."""
        self.refused_ms: list[float] = []
        """Of those that heard no."""
        self.late_ms: list[float] = []
        """How long after it was due each was sent: what the generator itself could not keep up with."""
        self.failed = 0
        self.answers: list[Any] = [None] * count

    async def send(self, session: aiohttp.ClientSession, url: str, index: int, body: bytes, due: float, keep: bool) -> None:
        """One request, timed from the moment it was due."""
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
                self.answers[index] = json.loads(content)
        elif response.status in REFUSALS:
            self.refused_ms.append(1e3 * (time.perf_counter() - due))
        else:
            self.failed += 1


async def at_rate(url: str, bodies: list[bytes], rate: float, timeout_s: float) -> tuple[Record, float]:
    """Send each body when it is due, whether or not the ones before it were answered."""
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
    """Send the bodies in their order, each caller the next one; all of them, or for so many seconds."""
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
    parser.add_argument("bodies", type=Path, help="a JSON body a line")
    parser.add_argument("--rate", type=float, help="requests a second")
    parser.add_argument("--callers", type=int, default=1, help="without a rate: callers who wait for their answers")
    parser.add_argument("--seconds", type=float, help="callers stop after so long")
    parser.add_argument("--timeout", type=float, default=10.0)
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
    found = {
        "ms": record.ms,
        "late_ms": record.late_ms,
        "refused_ms": record.refused_ms,
        "failed": record.failed,
        "wall_s": wall_s,
        "cpu_s": time.process_time(),
    }
    json.dump(found | ({"answers": record.answers} if given.keep else {}), sys.stdout)


if __name__ == "__main__":
    main()
