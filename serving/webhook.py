"""Post messages to a webhook, in Slack's format."""

import logging
import queue
import threading
from collections.abc import Sequence
from typing import Any

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

_log = logging.getLogger(__name__)
_WAITING = 1_000
_LONGEST_WAIT_S = 60.0


@retry(
    retry=retry_if_exception_type(httpx.HTTPError),
    stop=stop_after_attempt(3),
    wait=wait_exponential_jitter(multiplier=0.2, max=2),
    reraise=True,
)
def _post(url: str, body: dict[str, Any]) -> None:
    _send(url, body)


def _send(url: str, body: dict[str, Any]) -> None:
    _url_filter.secrets.add(str(httpx.URL(url)))
    httpx.post(url, json=body, timeout=5).raise_for_status()


class _UrlFilter(logging.Filter):
    """Drop httpx's log lines with a webhook's address, which is a secret: httpx logs each URL at INFO."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may be logged."""
        return not (isinstance(record.args, tuple) and any(str(part) in self.secrets for part in record.args))


_url_filter = _UrlFilter()
logging.getLogger("httpx").addFilter(_url_filter)


def notify(url: str, text: str, blocks: Sequence[dict[str, Any]] = ()) -> bool:
    """Post `{"text": text}`, with `"blocks"` if given. Blocks at most about 20 s: three attempts of 5 s each.

    Returns:
        False if the webhook did not accept it; the reason is logged, without the address, which may hold a secret.
    """
    try:
        _post(url, {"text": text, "blocks": list(blocks)} if blocks else {"text": text})
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        _log.warning("Webhook did not accept the message: %s", _reason(error))
        return False
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTPStatusError {error.response.status_code}"
    return type(error).__name__


class WebhookThread:
    """Post messages in order, in a thread, so that a webhook that is down does not block the caller.

    A message is retried until the webhook accepts it, with pauses of up to a minute; one that it rejects (4xx except 408 and 429)
    is dropped. At most 1,000 messages wait; beyond that the oldest is dropped. Each drop is logged.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(_WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def enqueue(self, text: str, blocks: Sequence[dict[str, Any]] = ()) -> None:
        """Queue a message; does not block."""
        body = {"text": text, "blocks": list(blocks)} if blocks else {"text": text}
        while True:
            try:
                self._waiting.put_nowait(body)
                return
            except queue.Full:
                try:
                    self._waiting.get_nowait()
                    _log.warning("Webhook unavailable for too long: the oldest of %d messages is dropped.", _WAITING)
                except queue.Empty:
                    pass

    def close(self, timeout_s: float = 5.0) -> None:
        """Try once more to post the messages that wait; blocks for at most `timeout_s`."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            self._stop.set()
        self._thread.join(timeout_s)
        self._stop.set()

    def _run(self) -> None:
        while (body := self._waiting.get()) is not None and not self._stop.is_set():
            self._deliver(body)

    def _deliver(self, body: dict[str, Any]) -> None:
        pause = 0.2
        while not self._stop.is_set():
            try:
                _send(self._url, body)
                return
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None
                if isinstance(error, httpx.InvalidURL) or (
                    status is not None and 400 <= status < 500 and status not in (408, 429)
                ):
                    _log.warning("Webhook rejected a message, which is dropped: %s", _reason(error))
                    return
                if pause == 0.2:
                    _log.warning("Webhook did not accept a message; retrying: %s", _reason(error))
            self._stop.wait(pause)
            pause = min(pause * 2, _LONGEST_WAIT_S)
