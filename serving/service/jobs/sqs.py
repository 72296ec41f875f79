"""Jobs for many machines: texts, results and progress in DynamoDB, one SQS message per part.

A message only names its part. SQS delivers it at least once, hides it while it is classified (`CLAIM_S`) and delivers it again
when the process dies; results are written under a condition, so a second delivery changes nothing. An unreadable message goes to
the dead-letter queue after the number of deliveries in the queue's redrive policy, which is above `MAX_ATTEMPTS`.
"""

import asyncio
import json
import logging
import time
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random

from serving.service import metrics
from serving.service.cache.dynamodb import client, write_items
from serving.service.jobs.queue import (
    CLAIM_S,
    KEEP_S,
    MAX_WAITING_TEXTS,
    PART_TEXTS,
    PLAIN,
    Job,
    JobsUnavailable,
    Options,
    Part,
    TooMany,
    name_job,
    parts_of,
    place_of,
    result_lines,
    texts_from,
    texts_to,
)
from serving.tiers import BASE

Result = TypeVar("Result")

_POLL_S = 2
_SEND_AT_ONCE = 10
"""Most messages of one request: SQS's limit."""
_THREADS = 4
_log = logging.getLogger(__name__)


class SQSJobs:
    """See `jobs.Jobs`. Each method waits for the network in a thread."""

    def __init__(
        self, table: str, queue_url: str, *, claim_s: float = CLAIM_S, max_waiting_texts: int = MAX_WAITING_TEXTS
    ) -> None:
        """Connects when first used."""
        self._claim_s, self._max_waiting_texts = claim_s, max_waiting_texts
        self._table, self._queue = table, queue_url
        self._dynamodb, self._sqs = client("dynamodb", read_timeout_s=10), client("sqs", read_timeout_s=_POLL_S + 10)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="jobs")
        self.more = asyncio.Event()
        self.up = True

    async def add(self, owner: str, texts: Sequence[Any], options: Options = PLAIN, *, idempotency_key: str | None = None) -> Job:
        """See `Jobs`."""
        return await self._do(self._add, name_job(owner, idempotency_key), owner, texts, options)

    async def get(self, job: str, owner: str | None) -> Job | None:
        """See `Jobs`."""
        item = await self._do(self._item, job, "job")
        return None if item is None or (owner is not None and item["owner"]["S"] != owner) else _job(job, item)

    async def text(self, identity: str, owner: str | None) -> Any:
        """See `Jobs`."""
        place = place_of(identity)
        if place is None or await self.get(place[0], owner) is None:
            return None
        part = await self._do(self._part_at, *place)
        texts, index = (_texts(part), place[1] - int(part["first"]["N"])) if part else ([], 0)
        return texts[index] if index < len(texts) else None

    async def cancel(self, job: str) -> None:
        """See `Jobs`."""
        await self._do(self._update, job, "SET cancelled = :yes", {":yes": {"BOOL": True}})

    async def results(self, job: str) -> AsyncIterator[bytes]:
        """See `Jobs`."""
        last = -1
        while (part := await self._do(self._part_after, job, last)) and "results" in part:
            yield zlib.decompress(part["results"]["B"])
            last = int(part["first"]["N"])

    async def claim(self) -> Part | None:
        """See `Jobs`; waits up to 2 s for a message."""
        try:
            return await self._do(self._claim)
        finally:
            self.more.set()  # SQS itself waits for messages

    async def finish(self, part: Part, results: Sequence[dict[str, Any]]) -> None:
        """See `Jobs`."""
        await self._do(self._finish, part, zlib.compress(result_lines(part, results), 1))

    async def give_back(self, part: Part) -> None:
        """See `Jobs`. A new message replaces the old one, since SQS counts the deliveries of a message itself."""
        await self._do(self._send, part.job, [part.first])
        await self._do(self._delete, part.receipt)

    async def waiting(self) -> int:
        """See `Jobs`; approximate, in whole parts."""
        return await self._do(self._waiting)

    async def close(self) -> None:
        """See `Jobs`."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def part_of(self, body: str, attempt: int, receipt: str | None) -> Part | None:
        """Read the part that a message names; None if it is cancelled, deleted or finished. Blocks.

        Raises:
            ValueError: The message does not name a part.
        """
        try:
            named = json.loads(body)
            job, first = str(named["job"]), int(named["first"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"message does not name a part: {type(error).__name__}") from error
        known, item = self._item(job, "job"), self._item(job, _sort_key(first))
        if known is None or item is None or known.get("cancelled", {}).get("BOOL") or "results" in item:
            return None
        return Part(job, first, _texts(item), _options(known), attempt, receipt)

    async def _do(self, work: Callable[..., Result], *arguments: Any) -> Result:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            result = await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        except (BotoCoreError, ClientError) as error:
            self.up = False
            metrics.JOBS_UP.set(0)
            raise JobsUnavailable(str(error)) from error
        self.up = True
        metrics.JOBS_UP.set(1)
        return result

    def _add(self, job: str, owner: str, texts: Sequence[Any], options: Options) -> Job:
        now = time.time()
        known = self._item(job, "job")
        if known is not None and known["sent"]["BOOL"]:
            return _job(job, known)
        parts = parts_of(texts)
        expires = {"N": str(int(now) + KEEP_S)}
        if known is None:
            if self._waiting() + len(texts) > self._max_waiting_texts:
                raise TooMany
            items = [
                _key(job, _sort_key(first)) | {"first": {"N": str(first)}, "texts": {"B": _packed(part)}, "expires": expires}
                for first, part in parts
            ]
            write_items(self._dynamodb, self._table, items)
            known = _key(job, "job") | {
                "owner": {"S": owner},
                "total": {"N": str(len(texts))},
                "done": {"N": "0"},
                "detail": {"BOOL": options.detail},
                "tier": {"S": options.tier},
                **({"domain": {"S": options.domain}} if options.domain else {}),
                **({"document": {"S": options.document}} if options.document else {}),
                "created": {"N": str(now)},
                "sent": {"BOOL": False},
                "expires": expires,
            }
            self._dynamodb.put_item(TableName=self._table, Item=known)
        # If the process died before this, a retry with the idempotency key sends the messages again; duplicates change nothing.
        self._send(job, [first for first, _ in parts])
        self._update(job, "SET sent = :yes", {":yes": {"BOOL": True}})
        return _job(job, known)

    def _waiting(self) -> int:
        name = "ApproximateNumberOfMessages"
        count = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=[name])["Attributes"][name]
        return int(count) * PART_TEXTS

    def _send(self, job: str, firsts: Sequence[int]) -> None:
        for start in range(0, len(firsts), _SEND_AT_ONCE):
            entries = [
                {"Id": str(first), "MessageBody": json.dumps({"job": job, "first": first})}
                for first in firsts[start : start + _SEND_AT_ONCE]
            ]
            response = self._sqs.send_message_batch(QueueUrl=self._queue, Entries=entries)
            if failed := response.get("Failed"):
                from botocore.exceptions import ClientError

                raise ClientError({"Error": {"Code": failed[0]["Code"], "Message": failed[0].get("Message", "")}}, "SendMessage")

    def _claim(self) -> Part | None:
        messages = self._sqs.receive_message(
            QueueUrl=self._queue,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=_POLL_S,
            VisibilityTimeout=int(self._claim_s),
            AttributeNames=["ApproximateReceiveCount"],
        ).get("Messages", [])
        if not messages:
            return None
        message = messages[0]
        receipt, attempt = message["ReceiptHandle"], int(message["Attributes"]["ApproximateReceiveCount"])
        try:
            part = self.part_of(message["Body"], attempt, receipt)
        except ValueError as error:
            _log.warning("unreadable message in the job queue; SQS moves it to the dead-letter queue: %s", error)
            return None
        if part is None:
            self._delete(receipt)
        return part

    def _finish(self, part: Part, results: bytes) -> None:
        from botocore.exceptions import ClientError

        write = {
            "TableName": self._table,
            "Key": _key(part.job, _sort_key(part.first)),
            "UpdateExpression": "SET results = :results",
            "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(results)",
            "ExpressionAttributeValues": {":results": {"B": results}},
        }
        count = {
            "TableName": self._table,
            "Key": _key(part.job, "job"),
            "UpdateExpression": "ADD done :more",
            "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeValues": {":more": {"N": str(len(part.texts))}},
        }
        # Parts of one job that end at the same time update the same item: DynamoDB accepts one of them.
        again = Retrying(
            retry=retry_if_exception(lambda error: "TransactionConflict" in _reasons(error)),
            stop=stop_after_attempt(8),
            wait=wait_random(0.01, 0.2),
            reraise=True,
        )
        try:
            again(self._dynamodb.transact_write_items, TransactItems=[{"Update": write}, {"Update": count}])
        except ClientError as error:
            if "ConditionalCheckFailed" not in _reasons(error):  # it means: written already, or deleted
                raise
        self._delete(part.receipt)

    def _delete(self, receipt: str | None) -> None:
        if receipt is None:
            return
        # The message was delivered to another process, which will find that the part is finished.
        with suppress(self._sqs.exceptions.ReceiptHandleIsInvalid):
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=receipt)

    def _update(self, job: str, expression: str, values: dict[str, Any]) -> None:
        self._dynamodb.update_item(
            TableName=self._table, Key=_key(job, "job"), UpdateExpression=expression, ExpressionAttributeValues=values
        )

    def _item(self, job: str, sort_key: str) -> dict[str, Any] | None:
        item = self._dynamodb.get_item(TableName=self._table, Key=_key(job, sort_key), ConsistentRead=True).get("Item")
        return item if item and float(item["expires"]["N"]) > time.time() else None

    def _part_at(self, job: str, position: int) -> dict[str, Any] | None:
        return self._neighbor(job, "part#", _sort_key(position), forward=False)

    def _part_after(self, job: str, last: int) -> dict[str, Any] | None:
        return self._neighbor(job, _sort_key(last + 1), "part#~", forward=True)

    def _neighbor(self, job: str, low: str, high: str, *, forward: bool) -> dict[str, Any] | None:
        items = self._dynamodb.query(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :low AND :high",
            Limit=1,
            ConsistentRead=True,
            ExpressionAttributeValues={":pk": {"S": f"job#{job}"}, ":low": {"S": low}, ":high": {"S": high}},
            ScanIndexForward=forward,
        )["Items"]
        return items[0] if items else None


def _reasons(error: BaseException) -> set[str]:
    response: dict[str, Any] = getattr(error, "response", {})
    return {reason["Code"] for reason in response.get("CancellationReasons", [])}


def _sort_key(first: int) -> str:
    return f"part#{first:08d}"


def _key(job: str, sort_key: str) -> dict[str, Any]:
    return {"pk": {"S": f"job#{job}"}, "sk": {"S": sort_key}}


def _packed(texts: list[Any]) -> bytes:
    return zlib.compress(texts_to(texts), 1)


def _texts(part: dict[str, Any]) -> list[Any]:
    return texts_from(zlib.decompress(part["texts"]["B"]))


def _job(identity: str, item: dict[str, Any]) -> Job:
    return Job.of(
        identity,
        total=int(item["total"]["N"]),
        done=int(item["done"]["N"]),
        created=float(item["created"]["N"]),
        cancelled=item.get("cancelled", {}).get("BOOL", False),
        options=_options(item),
    )


def _options(item: dict[str, Any]) -> Options:
    tier = item.get("tier", {}).get("S", BASE)  # older jobs have none
    return Options(item["detail"]["BOOL"], tier, item.get("domain", {}).get("S"), item.get("document", {}).get("S"))
