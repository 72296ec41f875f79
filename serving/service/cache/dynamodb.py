"""Predictions in a DynamoDB table, and the clients of DynamoDB and SQS, with bounded time-outs and retries.

One table holds everything, by `pk` and `sk` (strings); an item is gone after `expires` (seconds since 1970; the table's TTL
attribute). DynamoDB deletes late, so expired items are also skipped when they are read. Endpoints and credentials come from the
usual AWS variables: AWS_REGION, AWS_ENDPOINT_URL_DYNAMODB, AWS_ENDPOINT_URL_SQS and so on.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_READ_AT_ONCE, _WRITE_AT_ONCE = 100, 25
"""Most items of one request: DynamoDB's limits."""
_THREADS = 4


def client(service: str, *, read_timeout_s: float = 3.0) -> Any:
    """Make a client of `dynamodb` or `sqs`, thread-safe; at most three attempts per call, each with a time-out."""
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
    """See `stores.PredictionStore`."""

    def __init__(self, table: str) -> None:
        """Connects when first used."""
        self._table, self._client = table, client("dynamodb")
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="dynamodb")

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See `PredictionStore`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._get, keys)

    async def put(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        """See `PredictionStore`."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._put, values, ttl_s)

    async def close(self) -> None:
        """See `PredictionStore`."""
        self._threads.shutdown(wait=False)

    def _get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        values: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _READ_AT_ONCE):
            pending: dict[str, Any] = {self._table: {"Keys": [_name(key) for key in keys[start : start + _READ_AT_ONCE]]}}
            while pending:  # DynamoDB returns the keys it did not process; the caller's time-out ends the loop
                response = self._client.batch_get_item(RequestItems=pending)
                now = time.time()
                for item in response["Responses"].get(self._table, []):
                    if float(item["expires"]["N"]) > now:
                        values[bytes.fromhex(item["pk"]["S"].partition("#")[2])] = item["value"]["B"]
                pending = response["UnprocessedKeys"]
        return values

    def _put(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        expires = {"N": str(int(time.time()) + ttl_s)}
        items = [_name(key) | {"value": {"B": value}, "expires": expires} for key, value in values.items()]
        write_items(self._client, self._table, items)


def write_items(dynamodb: Any, table: str, items: Sequence[dict[str, Any]]) -> None:
    """Put any number of items, each at most 400 KB."""
    for start in range(0, len(items), _WRITE_AT_ONCE):
        pending = {table: [{"PutRequest": {"Item": item}} for item in items[start : start + _WRITE_AT_ONCE]]}
        while pending:
            pending = dynamodb.batch_write_item(RequestItems=pending)["UnprocessedItems"]


def _name(key: bytes) -> dict[str, Any]:
    return {"pk": {"S": f"answer#{key.hex()}"}, "sk": {"S": "-"}}
