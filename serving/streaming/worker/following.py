"""Follows the notices and edits in a block, in the warehouse and, through `var/forget/`, in the other stores."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from data.contracts import Event
from data.forgetting import Request, request_of
from serving.forgetting import pending
from serving.forgetting.stores import Feedback, Service, Wanted
from serving.streaming.worker import metrics
from serving.streaming.worker.processing import ProcessedBatch
from serving.warehouse.forget import add_keys, clear_messages, find_messages, write_notices
from serving.warehouse.keys import ForgottenKeys

_log = structlog.get_logger()


def follow_notices(client: Any, var: Path, block: ProcessedBatch) -> None:
    """Forget what notices ask to forget, and earlier edits of messages. Blocks; a repeated call changes nothing.

    The other stores follow with the next `groundswell forget` or `groundswell lakehouse maintain`: until then the requests are in
    `var/forget/`.
    """
    requests = [request for message, notice in block.notices if (request := request_of(notice, _arrived_at(message)))]
    edits = [Request("edit", identity, "edit") for event in block.events for identity in event.replaces]
    if requests:
        pending.add(var, requests)
        _forget_texts(var, requests, find_messages(client, requests).texts)
    if requests or edits:
        add_keys(client, [*requests, *edits])
        clear_messages(client, [*requests, *edits], since=datetime.now(UTC))
    if block.notices:
        rows = ((message.topic(), message.partition(), message.offset(), notice.kind) for message, notice in block.notices)
        write_notices(client, rows)
        for _, notice in block.notices:
            metrics.NOTICES.labels(notice.kind).inc()


def _forget_texts(var: Path, requests: list[Request], texts: frozenset[str]) -> None:
    """Forget the texts of messages in feedback and jobs of this machine, while the warehouse still has them."""
    for store in (Feedback(var), Service(var)) if texts else ():
        try:
            store.forget(Wanted(requests, texts))
        except Exception as error:  # the requests are pending: the next call tries again
            _log.warning("a store is not reachable", store=store.name, error=str(error))


def leave_out(client: Any, block: ProcessedBatch, forgotten: ForgottenKeys) -> list[Event]:
    """Clear the rows of a block that was classified before the worker knew that they are forgotten; return these messages."""
    late = [event for event, message in zip(block.events, block.origins, strict=True) if _covers(forgotten, event, message)]
    if late:
        clear_messages(client, [Request("message", event.id) for event in late], since=datetime.now(UTC))
    return late


def forget_texts(var: Path, left_out: Iterable[Event], forgotten: ForgottenKeys) -> None:
    """Forget the texts of left out messages in feedback and jobs of this machine: they were unknown when the notice came."""
    _forget_texts(var, [], frozenset(event.text for event in left_out if not forgotten.is_replaced(event.id)))


def _covers(forgotten: ForgottenKeys, event: Event, message: Any) -> bool:
    return forgotten.cover(event, message.timestamp()[1] / 1000)


def _arrived_at(message: Any) -> datetime:
    return datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
