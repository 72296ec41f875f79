"""Prediction stores, on real servers: the same tests for each."""

import asyncio
import time
from unittest.mock import patch

import pytest
from redis import Redis

from data.errors import SettingsError
from serving.service.cache.dynamodb import DynamoDBStore
from serving.service.cache.stores import Guarded, RedisStore, SQLiteStore, open_store
from serving.settings import ServingSettings
from tests.components.java import DynamoDB, set_environment
from tests.components.redis import RedisServer
from tests.waiting import until_async

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def dynamodb(tmp_path_factory):
    server = DynamoDB(tmp_path_factory.mktemp("dynamodb"))
    server.table("predictions")
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "redis", "dynamodb"])
def make_store(request, tmp_path, monkeypatch):
    """Return a function that opens the same store."""
    if request.param == "dynamodb":
        server = request.getfixturevalue("dynamodb")
        set_environment(monkeypatch, server, server)
        return lambda: DynamoDBStore("predictions")
    if request.param == "sqlite":
        return lambda: SQLiteStore(tmp_path / "deep" / "predictions.db")
    server = request.getfixturevalue("redis_server")
    Redis(port=server.port).flushall()
    return lambda: RedisStore(server.url)


def test_stored_values_are_read_by_another_client_of_the_store(make_store):
    async def go():
        one, other = make_store(), make_store()
        await one.put({b"a": b"1", b"\x00\xff": b"\x00"}, 60)
        await one.put({b"a": b"2"}, 60)
        found = await other.get([b"a", b"\x00\xff", b"missing"])
        await one.close()
        await other.close()
        return found

    assert asyncio.run(go()) == {b"a": b"2", b"\x00\xff": b"\x00"}


def test_value_expires_after_its_time(make_store):
    async def go():
        store = make_store()
        await store.put({b"short": b"1"}, 1)
        await store.put({b"long": b"2"}, 60)

        async def expired():
            found = await store.get([b"short", b"long"])
            return found if b"short" not in found else None

        found = await until_async(expired)
        await store.close()
        return found

    assert asyncio.run(go()) == {b"long": b"2"}


def test_concurrent_writes_lose_nothing(make_store):
    async def go():
        stores = [make_store() for _ in range(4)]
        values = [{b"%d-%d" % (n, k): b"%d" % k for k in range(200)} for n in range(4)]
        await asyncio.gather(*(store.put(some, 60) for store, some in zip(stores, values, strict=True)))
        found = await stores[0].get([key for some in values for key in some])
        for store in stores:
            await store.close()
        return len(found)

    assert asyncio.run(go()) == 800


@pytest.mark.parametrize("kind", ["redis", "dynamodb"])
def test_server_that_goes_down_is_skipped_and_used_again(kind, tmp_path, monkeypatch):
    server = RedisServer(tmp_path) if kind == "redis" else DynamoDB(tmp_path)

    async def go():
        store = Guarded(RedisStore(server.url) if kind == "redis" else DynamoDBStore("predictions"), timeout_s=5.0, rest_s=0.1)
        await store.put({b"a": b"1"}, 60)
        assert await store.get([b"a"]) == {b"a": b"1"}
        server.stop()
        assert await store.get([b"a"]) == {} and not store.up
        await store.put({b"b": b"1"}, 60)
        server.start()

        async def written():
            await store.put({b"c": b"3"}, 60)
            return await store.get([b"c"]) == {b"c": b"3"}

        await until_async(written)
        found = await store.get([b"c"]), store.up
        await store.close()
        return found

    try:
        if kind == "dynamodb":
            set_environment(monkeypatch, server, server)
            server.table("predictions")
        assert asyncio.run(go()) == ({b"c": b"3"}, True)
    finally:
        server.stop()


def test_clock_an_hour_off_never_returns_an_expired_value(make_store, monkeypatch):
    """Written by a machine whose clock is an hour behind: it expires early, never late."""
    real = time.time

    async def go():
        store = make_store()
        with patch("time.time", lambda: real() - 3600):
            await store.put({b"a": b"1"}, 1800)
        found = await store.get([b"a"])
        await store.close()
        return found

    assert asyncio.run(go()) in ({}, {b"a": b"1"})  # Redis keeps the time itself


def test_store_that_hangs_costs_one_timeout(tmp_path):
    class Hangs:
        calls = 0

        async def get(self, keys):
            self.calls += 1
            await asyncio.Event().wait()

    async def go():
        slow = Hangs()
        store = Guarded(slow, timeout_s=0.05, rest_s=60.0)  # type: ignore[arg-type]
        for _ in range(100):
            assert await store.get([b"a"]) == {}
        return slow.calls

    assert asyncio.run(go()) == 1


def test_unwritable_file_is_no_error_for_the_caller(tmp_path):
    (tmp_path / "service").write_text("a file where the folder should be")

    async def go():
        store = open_store(ServingSettings.load(prediction_store="sqlite"), tmp_path)
        assert store is not None
        await store.put({b"a": b"1"}, 60)
        found = await store.get([b"a"])
        await store.close()
        return found

    assert asyncio.run(go()) == {}


def test_redis_without_a_url_is_refused_and_memory_needs_no_store(tmp_path):
    with pytest.raises(SettingsError, match="Redis URL missing"):
        open_store(ServingSettings.load(prediction_store="redis"), tmp_path)
    assert open_store(ServingSettings.load(prediction_store="memory"), tmp_path) is None
