"""The alerts' own process: it polls the warehouse and publishes to topic and webhook."""

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from data.contracts import Alert
from data.errors import StreamError
from serving.settings import AlertSettings, StreamSettings
from serving.streaming.alerts.rows import slack_message
from serving.streaming.alerts.service import POLL_S, Alerts
from serving.streaming.broker import ALERTS, client_config
from serving.webhook import WebhookThread

LOG_AGAIN_S = 60.0
_LONGEST_PAUSE_S = 10.0
_log = logging.getLogger(__name__)


class Publisher:
    """Publishes alerts to the topic and the webhook; neither can hold up detection. The webhook gets none of a muted source.

    librdkafka keeps what an unavailable broker did not take, up to 10,000 alerts, for as long as this process lives.
    """

    def __init__(self, stream: StreamSettings, settings: AlertSettings) -> None:
        from confluent_kafka import Producer

        self._producer = Producer(
            {**client_config(stream), "message.timeout.ms": 0, "queue.buffering.max.messages": 10_000, "linger.ms": 0}
        )
        self._webhook = WebhookThread(settings.webhook.get_secret_value()) if settings.webhook else None

    def __call__(self, alert: Alert) -> None:
        """Hand over; does not block."""
        try:
            self._producer.produce(ALERTS, alert.model_dump_json().encode(), key=alert.id, on_delivery=_delivered)
        except BufferError:
            _log.error("The broker has been unavailable for too long: alert %s is in the warehouse, not on the topic.", alert.id)
        self._producer.poll(0)
        if self._webhook and not alert.muted:
            self._webhook.enqueue(*slack_message(alert))

    def poll(self) -> None:
        """Handle the broker's delivery reports; does not block."""
        self._producer.poll(0)

    def close(self, timeout_s: float = 5.0) -> None:
        """Try a last time to deliver what waits; blocks for at most twice `timeout_s`."""
        if left := self._producer.flush(timeout_s):
            _log.error("%d alerts are in the warehouse and did not reach the topic.", left)
        if self._webhook:
            self._webhook.close(timeout_s)


def _delivered(error: Any, message: Any) -> None:
    if error is not None:
        _log.error("An alert did not reach the topic: %s", error.str())


def run_alerts(
    var: Path,
    *,
    stop: threading.Event,
    settings: AlertSettings | None = None,
    stream: StreamSettings | None = None,
    connect: Callable[[], AbstractContextManager[Any]] | None = None,
    published: Callable[[Alert], None] | None = None,
) -> None:
    """Watch the warehouse until `stop` is set. Survives an unavailable warehouse or broker, and logs it.

    Args:
        var: Where state and calibration are; one such process for each.
        stop: Set to end it; it then returns within seconds.
        settings: None: as configured.
        stream: The broker; None: as configured.
        connect: Gives a context with a clickhouse-connect client; None: the one of `var`.
        published: Called with each alert after topic and webhook.

    Raises:
        StreamError: Another such process runs.
    """
    settings, stream = settings or AlertSettings.load(), stream or StreamSettings.load()
    folder = var / "stream"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "alerts.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StreamError(
            "Alerts are already watched.",
            found=f"{folder / 'alerts.lock'} is held by another process",
            remedy="Stop that one first.",
        ) from None
    try:
        publisher = Publisher(stream, settings)

        def publish(alert: Alert) -> None:
            publisher(alert)
            if published:
                published(alert)

        alerts = Alerts(var, settings, publish)
        try:
            _watch(alerts, publisher, connect or _connect_to(var), stop)
        finally:
            publisher.close()
            alerts.save()
    finally:
        lock.release()


class _Pauses:
    """How long to wait for an unavailable warehouse, and when to log it."""

    def __init__(self) -> None:
        self._pause_s, self._logged_at = POLL_S, -math.inf

    def failed(self, error: Exception) -> float:
        """Log the error at times; return the seconds to wait."""
        if time.monotonic() - self._logged_at >= LOG_AGAIN_S:
            _log.warning("Alerts wait for the warehouse: %s", (str(error).splitlines() or [type(error).__name__])[0][:300])
            self._logged_at = time.monotonic()
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        return self._pause_s

    def succeeded(self) -> None:
        """Start again with a short wait."""
        if self._pause_s > POLL_S:
            _log.warning("The warehouse responds again.")
            self._pause_s, self._logged_at = POLL_S, -math.inf


def _watch(
    alerts: Alerts, publisher: Publisher, connect: Callable[[], AbstractContextManager[Any]], stop: threading.Event
) -> None:
    pauses = _Pauses()
    while not stop.is_set():
        try:
            with connect() as client:
                while not stop.is_set():
                    before = time.monotonic()
                    alerts.poll(client)
                    publisher.poll()
                    pauses.succeeded()
                    stop.wait(max(0.0, POLL_S - (time.monotonic() - before)))
        except Exception as error:  # clickhouse-connect, chDB and the network raise unrelated classes
            stop.wait(pauses.failed(error))


def _connect_to(var: Path) -> Callable[[], AbstractContextManager[Any]]:
    from serving.warehouse.connect import connect

    return lambda: connect(var, own=False)
