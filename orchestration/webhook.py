"""Tell a webhook."""

import logging

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

_log = logging.getLogger(__name__)


@retry(
    retry=retry_if_exception_type(httpx.HTTPError),
    stop=stop_after_attempt(3),
    wait=wait_exponential_jitter(multiplier=0.2, max=2),
    reraise=True,
)
def _post(url: str, text: str) -> None:
    httpx.post(url, json={"text": text}, timeout=5).raise_for_status()


def notify(url: str, text: str) -> bool:
    """Post `{"text": text}` (the shape Slack takes). Blocks at most about 20 s: three tries of 5 s each.

    Returns:
        False when the webhook did not take it; the reason is logged, without the address, which may hold a secret.
    """
    try:
        _post(url, text)
    except httpx.HTTPError as error:
        _log.warning("The webhook did not take the message: %s", type(error).__name__)
        return False
    return True
