"""A caller that disconnects frees its place: what was asked for is canceled, and nothing else."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request

from serving.service.classify_route import cancel_on_disconnect
from serving.service.middleware.scope import GONE


class Work:
    """Ends when `finish` is set; records that it was canceled."""

    def __init__(self):
        self.started, self.finish, self.canceled = asyncio.Event(), asyncio.Event(), False

    async def __call__(self):
        self.started.set()
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.canceled = True
            raise
        return "done"


def request(gone=None):
    return Request({"type": "http", "headers": []} | ({GONE: gone} if gone else {}))


def test_work_is_canceled_when_the_connection_is_gone():
    async def go():
        gone, work = asyncio.get_running_loop().create_future(), Work()
        task = asyncio.create_task(cancel_on_disconnect(request(gone), work()))
        await work.started.wait()
        gone.set_result(None)
        with pytest.raises(ClientDisconnect):
            await task
        return work.canceled

    assert asyncio.run(go())


def test_work_ends_with_its_result_and_leaves_nothing_on_the_connection():
    async def go():
        gone, work = asyncio.get_running_loop().create_future(), Work()
        for _ in range(3):  # requests of one connection
            work.finish.set()
            assert await cancel_on_disconnect(request(gone), work()) == "done"
        left = list(gone._callbacks or ())
        gone.set_result(None)
        await asyncio.sleep(0)
        return left, work.canceled

    assert asyncio.run(go()) == ([], False)


def test_time_out_of_the_request_is_no_disconnect():
    async def go():
        gone, work = asyncio.get_running_loop().create_future(), Work()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await cancel_on_disconnect(request(gone), work())
        return work.canceled

    assert asyncio.run(go())


def test_error_of_the_work_is_raised_with_and_without_our_server():
    async def broken():
        raise RuntimeError("broken")

    async def go():
        for gone in (None, asyncio.get_running_loop().create_future()):
            with pytest.raises(RuntimeError, match="broken"):
                await cancel_on_disconnect(request(gone), broken())

    asyncio.run(go())
