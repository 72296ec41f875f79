"""RSS, Atom and JSON feeds. Asks with `If-None-Match` and `If-Modified-Since`, so an unchanged feed costs a few bytes."""

import re

from data.domains import Domain
from serving.streaming.feeds.entries import Entry, Polled, Position, Round, bounded_id
from serving.streaming.feeds.fetching import Fetcher, Response, require_url, shown
from serving.streaming.feeds.syndication import MAX_ENTRIES, Item, fallback_id, read_feed

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age\s*=\s*(\d{1,9})", re.IGNORECASE)
_GLOBAL = re.compile(r"https?://|urn:|tag:", re.IGNORECASE)
"""Begins an id that is unique in the world, by the rules of RSS and Atom."""
_ACCEPT = (
    "application/rss+xml, application/atom+xml, application/rdf+xml, application/feed+json, application/xml;q=0.9, "
    "text/xml;q=0.9, application/json;q=0.8, */*;q=0.1"
)


class RssFeed:
    """One feed (`Connector`)."""

    name = "rss"
    memory = 5 * MAX_ENTRIES

    def __init__(
        self, url: str, fetcher: Fetcher, *, source: str | None = None, domain: Domain | None = None, interval_s: float = 300.0
    ) -> None:
        parts = require_url(url)
        self._host = (parts.hostname or "").removeprefix("www.")
        self._url, self._fetcher, self._where = url, fetcher, f"{self._host}{parts.path}"
        self.key, self.label, self.interval_s = url, shown(url), interval_s
        self.source = source or self._host
        self.domain: Domain | None = domain

    def poll(self, round: Round) -> Polled:
        """Read the feed; nothing if it has not changed."""
        asked = {"Accept": _ACCEPT}
        if etag := round.position.get("etag"):
            asked["If-None-Match"] = etag
        if modified := round.position.get("modified"):
            asked["If-Modified-Since"] = modified
        response = self._fetcher.get(self._url, asked)
        if response.status == 304:
            return Polled(position=round.position, wait_s=_max_age(response))
        feed = read_feed(response)
        entries = [self._entry(item) for item in reversed(feed.items)]
        waits = [wait for wait in (feed.wait_s, _max_age(response)) if wait is not None]
        return Polled([*entries], _position(response), max(waits, default=None), feed.rejected)

    def reset(self) -> None:
        """Nothing: each poll is complete."""

    def close(self) -> None:
        """Nothing: the fetcher is the caller's."""

    def _entry(self, item: Item) -> Entry:
        own = item.id or fallback_id(item)
        # An id that is unique in its feed alone, such as 17, gets the feed's path. No feed can take the id of another site.
        identity = f"rss:{self._host}:{own}" if _GLOBAL.match(own) else f"rss:{self._where}:{own}"
        return Entry(bounded_id(identity), item.text, item.created_at, item.lang)


def _position(response: Response) -> Position:
    found = {"etag": response.headers.get("etag"), "modified": response.headers.get("last-modified")}
    return {name: value for name, value in found.items() if value and len(value) <= 1_000}


def _max_age(response: Response) -> float | None:
    found = _MAX_AGE.search(response.headers.get("cache-control", ""))
    return float(found[1]) if found else None
