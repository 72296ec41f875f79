"""The public posts of Bluesky, from Jetstream, a WebSocket that needs no account.

Not the search of the AppView: `app.bsky.feed.searchPosts` refuses requests without an account (bluesky-social/atproto issue 3423,
where its developers ask for the stream to be used instead). Jetstream also has deletions, which are followed.
"""

import json
import socket
import threading
import time
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

from data.domains import Domain
from data.tweets.fediverse import POSTS, read_jetstream
from data.tweets.fields import mapping
from data.tweets.types import Notice as ReadNotice
from data.tweets.types import Rejected
from serving.streaming.feeds.entries import Entry, Notice, Polled, Round, bounded_id
from serving.streaming.feeds.errors import FeedError, FeedUnavailable
from serving.streaming.feeds.fetching import LATER, refusal, require_url
from serving.streaming.feeds.network import CONNECT_S, SLICE_S, resolve

SERVICE = "wss://jetstream2.us-east.bsky.network/subscribe"
ROUND_S = 2.0
"""A round ends after this time, or at `ROUND_EVENTS`."""
ROUND_EVENTS = 500
MAX_EVENT_BYTES = 64 * 1024
"""The server leaves larger events out; a post has at most 300 characters."""
OVERLAP_US = 2_000_000
"""After a break it is read from a little before: servers differ by that much. The ids remove what comes twice."""


class BlueskyPosts:
    """All public posts (`Connector`)."""

    name = "bluesky"
    memory = 10_000
    interval_s = 0.0

    def __init__(
        self, *, service: str = SERVICE, source: str | None = None, domain: Domain | None = None, allow_private: bool = False
    ) -> None:
        parts = require_url(service, ("wss", "ws"))
        self._url, self._host, self._secure = service, parts.hostname or "", parts.scheme == "wss"
        self._port = parts.port or (443 if self._secure else 80)
        self._allow_private = allow_private
        self.key, self.label, self.source = service, self._host, source or "bluesky"
        self.domain: Domain | None = domain
        self._opened = ExitStack()
        self._socket: Any = None

    def poll(self, round: Round) -> Polled:
        """Read events for two seconds; the first time those from now on."""
        from websockets.exceptions import ConnectionClosed

        if self._socket is None:
            self._socket = self._connect(round.position.get("time_us"))
        polled, ends_at, count = Polled(position=round.position), time.monotonic() + ROUND_S, 0
        wanted = min(ROUND_EVENTS, round.room)
        while count < ROUND_EVENTS and len(polled.items) < wanted and not round.stop.is_set():
            left = ends_at - time.monotonic()
            if left <= 0:
                break
            try:
                message = self._socket.recv(timeout=min(left, SLICE_S))
            except TimeoutError:
                continue
            except ConnectionClosed as error:
                if not count:
                    raise FeedUnavailable(f"{self.label} closed the connection.", found=error) from error
                self.reset()  # what was read is sent; the next round connects again
                break
            count += 1
            self._add(message, polled)
        return polled

    def reset(self) -> None:
        """Close the connection: the next round connects again, at its position."""
        if self._socket is not None:
            opened, self._opened, self._socket = self._opened, ExitStack(), None
            # In a thread: closing waits for the server.
            threading.Thread(target=opened.close, name="jetstream-close", daemon=True).start()

    def close(self) -> None:
        """Close the connection."""
        self.reset()

    def _connect(self, time_us: object) -> Any:
        from websockets.exceptions import InvalidHandshake, InvalidStatus
        from websockets.sync.client import connect

        query: dict[str, object] = {"wantedCollections": POSTS, "maxMessageSizeBytes": MAX_EVENT_BYTES}
        if isinstance(time_us, int):
            query["cursor"] = max(time_us - OVERLAP_US, 0)
        addresses = resolve(self._host, self._port, allow_private=self._allow_private)
        try:
            # A socket of our own: the library would resolve the name again, and use a proxy.
            opened = socket.create_connection((addresses[0], self._port), CONNECT_S)
        except OSError as error:
            raise FeedUnavailable(f"{self.label} is not reachable.", found=error) from error
        try:
            address = f"{self._url}?{urlencode(query)}"
            return self._opened.enter_context(
                connect(address, sock=opened, open_timeout=CONNECT_S, close_timeout=2, max_size=2 * MAX_EVENT_BYTES)
            )
        except InvalidHandshake as error:
            opened.close()
            if isinstance(error, InvalidStatus) and error.response.status_code in LATER:
                headers = {name.lower(): value for name, value in error.response.headers.raw_items()}
                raise refusal(self._url, error.response.status_code, headers) from error
            raise FeedError(
                f"{self.label} is no Jetstream.",
                found=error,
                expected="a WebSocket, such as " + SERVICE,
                remedy="Name another service of Jetstream.",
            ) from error
        except (OSError, TimeoutError, EOFError) as error:
            opened.close()
            raise FeedUnavailable(f"{self.label} is not reachable.", found=error) from error

    @staticmethod
    def _add(message: str | bytes, polled: Polled) -> None:
        try:
            record = mapping(json.loads(message))
        except (ValueError, RecursionError):
            polled.rejected["not json"] += 1
            return
        time_us = record.get("time_us")
        if isinstance(time_us, int):
            polled.position = {"time_us": time_us}
        found = read_jetstream(record)
        if isinstance(found, ReadNotice):
            polled.items.append(Notice(message if isinstance(message, bytes) else message.encode(), found.message_id))
        elif not isinstance(found, Rejected):
            polled.items.append(Entry(bounded_id(found.message_id), found.text, found.created_at, found.lang, found.author))
        elif found.reason != "not a message":  # such as a new name of an account
            polled.rejected[found.reason] += 1
