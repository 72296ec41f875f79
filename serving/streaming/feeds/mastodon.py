"""The public timeline or a hashtag of a Mastodon instance, without an account.

Asks with `min_id`, which brings the statuses right after the last one page by page; `since_id` would bring the newest ones and
leave a gap when more than a page is new.
"""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from data.domains import Domain
from data.times import utc
from data.tweets.fediverse import read_status
from data.tweets.fields import mapping, maybe_id, string
from data.tweets.types import Rejected
from serving.streaming.feeds.entries import Entry, Polled, Round, bounded_id
from serving.streaming.feeds.errors import FeedError
from serving.streaming.feeds.fetching import Fetcher, Response, require_url, shown

PAGE, MAX_PAGES = 40, 10
"""Statuses of a page: the most that an instance gives; and pages of one poll."""


class MastodonTimeline:
    """One timeline (`Connector`).

    Args:
        instance: A host, such as mastodon.example, or its address.
        fetcher: Sends the requests.
        tag: A hashtag, with or without #; None: the public timeline.
        source: Of the events; None: the instance.
        domain: Of the events.
        interval_s: Seconds between two polls.
    """

    name = "mastodon"
    memory = 5 * PAGE * MAX_PAGES

    def __init__(
        self,
        instance: str,
        fetcher: Fetcher,
        *,
        tag: str | None = None,
        source: str | None = None,
        domain: Domain | None = None,
        interval_s: float = 30.0,
    ) -> None:
        parts = require_url(instance if "://" in instance else f"https://{instance}")
        tag = tag.strip().removeprefix("#") if tag else None
        timeline = f"tag/{quote(tag, safe='')}" if tag else "public"
        self._url, self._fetcher = f"{parts.scheme}://{parts.netloc}/api/v1/timelines/{timeline}", fetcher
        self.key = self._url
        self.label = f"{parts.netloc} #{tag}" if tag else parts.netloc
        self.source, self.interval_s = source or parts.netloc, interval_s
        self.domain: Domain | None = domain

    def poll(self, round: Round) -> Polled:
        """Read the statuses after the last one; the first time the newest page."""
        last, polled = maybe_id(round.position.get("id")), Polled(position=round.position)
        for _ in range(MAX_PAGES):
            response = self._page(last)
            statuses = sorted(_statuses(response), key=_age)
            for status in statuses:
                self._add(status, polled)
            was_first, last = last is None, maybe_id(statuses[-1].get("id")) if statuses else last
            polled.wait_s = _limited_s(response)
            if was_first or len(statuses) < PAGE or len(polled.items) >= round.room or polled.wait_s:
                break
        polled.position = {"id": last} if last else round.position
        return polled

    def reset(self) -> None:
        """Nothing: each poll continues from its position."""

    def close(self) -> None:
        """Nothing: the fetcher is the caller's."""

    def _page(self, after: str | None) -> Response:
        query = {"limit": PAGE, **({"min_id": after} if after else {})}
        try:
            return self._fetcher.get(f"{self._url}?{urlencode(query)}", {"Accept": "application/json"})
        except FeedError as error:
            if error.status not in (401, 403, 422):
                raise
            raise FeedError(
                f"{self.label} does not show this timeline without an account.",
                found=f"HTTP {error.status}",
                remedy="Choose another instance, or a hashtag with --tag.",
                status=error.status,
            ) from error

    @staticmethod
    def _add(status: dict[str, Any], polled: Polled) -> None:
        found = read_status(status)
        if isinstance(found, Rejected):
            polled.rejected[found.reason] += 1
            return
        account = mapping(status.get("account"))
        # Its address, not its number: each instance has numbers of its own, and other networks have the same ones.
        identity = string(status.get("uri")) or string(status.get("url")) or found.message_id
        author = string(account.get("uri")) or string(account.get("url")) or found.author
        polled.items.append(
            Entry(
                bounded_id(identity),
                found.text,
                found.created_at,
                found.lang,
                bounded_id(author) if author else None,
                found.is_share,
            )
        )


def _age(status: dict[str, Any]) -> tuple[int, str]:
    """Sort ids as numbers, also those that are none."""
    found = maybe_id(status.get("id")) or ""
    return len(found), found


def _statuses(response: Response) -> list[dict[str, Any]]:
    try:
        found = json.loads(response.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise FeedError(
            f"{shown(response.url)} is no timeline of Mastodon.",
            found=response.headers.get("content-type", "no content type")[:80],
            expected="a JSON list of statuses",
            remedy="Check the name of the instance.",
        )
    return [mapping(status) for status in found if isinstance(status, dict)]  # pyright: ignore[reportReturnType]


def _limited_s(response: Response) -> float | None:
    """Return the seconds until more requests are allowed; None while some are left."""
    if response.headers.get("x-ratelimit-remaining") != "0":
        return None
    at = utc(response.headers.get("x-ratelimit-reset"))
    return max((at - datetime.now(UTC)).total_seconds(), 1.0) if at else 60.0
