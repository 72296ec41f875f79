"""Answers in a DynamoDB table, and what else talks to DynamoDB and SQS: clients that give up in time.

One table holds everything, by `pk` and `sk` (strings); an item is gone after `expires` (seconds since 1970; the table's TTL
attribute). DynamoDB deletes late, so that what is over is also left out when it is read. Addresses and credentials come as
for every AWS program: AWS_REGION, AWS_ENDPOINT_URL_DYNAMODB, AWS_ENDPOINT_URL_SQS and so on.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_READ_AT_ONCE, _WRITE_AT_ONCE = 100, 25
"""Items of one request: DynamoDB's own limits."""
_THREADS = 4


def client(service: str, *, read_timeout_s: float = 3.0) -> Any:
    """A client of `dynamodb` or `sqs`, thread-safe; three tries, each bounded."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=1,
        read_timeout=read_timeout_s,
        retries={"total_max_attempts": 3, "mode": "standard"},
        max_pool_connections=2 * _THREADS,
    )
    return boto3.client(service, config=config)  # type: ignore[call-overload]


class DynamoDBStore:
    """See `stores.AnswerStore`."""

    def __init__(self, table: str) -> None:
        """Connects when first used."""
        self._table, self._client = table, client("dynamodb")
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="dynamodb")

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See `AnswerStore`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._get, keys)

    async def put(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        """See `AnswerStore`."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._put, values, ttl_s)

    async def close(self) -> None:
        """See `AnswerStore`."""
        self._threads.shutdown(wait=False)

    def _get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _READ_AT_ONCE):
            asked: dict[str, Any] = {self._table: {"Keys": [_name(key) for key in keys[start : start + _READ_AT_ONCE]]}}
            while asked:  # what the table was too busy for is asked again; the caller's time-out ends it
                said = self._client.batch_get_item(RequestItems=asked)
                now = time.time()
                for item in said["Responses"].get(self._table, []):
                    if float(item["expires"]["N"]) > now:
                        found[bytes.fromhex(item["pk"]["S"].partition("#")[2])] = item["value"]["B"]
                asked = said["UnprocessedKeys"]
        return found

    def _put(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        expires = {"N": str(int(time.time()) + ttl_s)}
        items = [_name(key) | {"value": {"B": value}, "expires": expires} for key, value in values.items()]
        write_items(self._client, self._table, items)


def write_items(dynamodb: Any, table: str, items: Sequence[dict[str, Any]]) -> None:
    """Put any number of items, each at most 400 KB."""
    for start in range(0, len(items), _WRITE_AT_ONCE):
        asked = {table: [{"PutRequest": {"Item": item}} for item in items[start : start + _WRITE_AT_ONCE]]}
        while asked:
            asked = dynamodb.batch_write_item(RequestItems=asked)["UnprocessedItems"]


def _name(key: bytes) -> dict[str, Any]:
    return {"pk": {"S": f"answer#{key.hex()}"}, "sk": {"S": "-"}}
