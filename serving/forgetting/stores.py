"""Every store that may hold a message, behind one interface: what to look for, what to remove, what is left."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from data.errors import LakehouseError
from data.feedback import open_feedback
from data.forgetting import Request
from serving.settings import ServingSettings


@dataclass(frozen=True)
class Wanted:
    """What to forget, with the messages that were found."""

    requests: Sequence[Request]
    texts: frozenset[str] = frozenset()
    """Texts of the messages, by which stores without ids find them."""
    people: frozenset[str] = frozenset()
    """Names of authors, by which labels of these people are found."""


@dataclass
class Found:
    """Messages that a store holds."""

    ids: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    authors: list[Request] = field(default_factory=list)
    """The authors whose name was asked for, by their ids."""


class Store(Protocol):
    """One store. Its methods raise GroundswellError, or what its library raises, if it is not reachable."""

    @property
    def name(self) -> str:
        """Name in reports."""
        ...

    def find(self, requests: Sequence[Request]) -> Found:
        """Return the messages that requests are about; nothing if the store has no ids."""
        ...

    def forget(self, wanted: Wanted) -> dict[str, int]:
        """Remove them; return how many rows, by table. A repeated call finishes what a killed one left."""
        ...

    def left(self, wanted: Wanted) -> dict[str, int]:
        """Return how many rows still hold one of them, by table. Empty: none."""
        ...


@dataclass(frozen=True)
class Feedback:
    """Labels of callers."""

    var: Path
    name: str = "feedback"

    def find(self, requests: Sequence[Request]) -> Found:
        """See `Store`."""
        return Found()

    def forget(self, wanted: Wanted) -> dict[str, int]:
        """See `Store`."""
        return {"labels": open_feedback(self.var).forget(wanted.texts, wanted.people)}

    def left(self, wanted: Wanted) -> dict[str, int]:
        """See `Store`."""
        return _some({"labels": open_feedback(self.var).count(wanted.texts, wanted.people)})


@dataclass(frozen=True)
class Service:
    """Jobs with their results, and cached predictions, in files. Redis and DynamoDB: they expire within a day."""

    var: Path
    name: str = "service"

    def find(self, requests: Sequence[Request]) -> Found:
        """See `Store`."""
        return Found()

    def forget(self, wanted: Wanted) -> dict[str, int]:
        """See `Store`."""
        from serving.service.forget import forget_in_cache, forget_in_jobs

        jobs, cache = self._files()
        return {
            "jobs": forget_in_jobs(jobs, wanted.texts),
            "cache": forget_in_cache(cache, self._cache_names(), wanted.texts),
        }

    def left(self, wanted: Wanted) -> dict[str, int]:
        """See `Store`."""
        from serving.service.forget import count_in_cache, count_in_jobs

        jobs, cache = self._files()
        counts = {
            "jobs": count_in_jobs(jobs, wanted.texts),
            "cache": count_in_cache(cache, self._cache_names(), wanted.texts),
        }
        return _some(counts)

    def _files(self) -> tuple[Path, Path]:
        return self.var / "service" / "jobs-2.db", self.var / "service" / "answers.db"

    def _cache_names(self) -> list[str]:
        from data.errors import BundleError
        from serving.bundle import read_bundle
        from serving.engines.engine import ENGINES, on_engine
        from serving.prediction_keys import cache_name

        found: list[str] = []
        for manifest in (self.var / "bundles").glob("*/bundle.json"):
            try:
                bundle = read_bundle(manifest.parent)
            except BundleError:  # a damaged bundle serves nothing
                continue
            names = [on_engine(bundle.fingerprint, engine) for engine in ENGINES]
            found += [cache_name(name, point, head) for name in names for point in bundle.points for head in bundle.heads]
        return found


@dataclass(frozen=True)
class Warehouse:
    """ClickHouse: predictions, rollups, the examples of alerts."""

    var: Path
    name: str = "warehouse"

    def find(self, requests: Sequence[Request]) -> Found:
        """See `Store`."""
        from serving.warehouse.forget import find_messages

        with self._client() as client:
            held = find_messages(client, requests)
        return Found(set(held.ids), set(held.texts))

    def forget(self, wanted: Wanted) -> dict[str, int]:
        """See `Store`."""
        from serving.warehouse.forget import forget_messages

        with self._client() as client:
            return forget_messages(client, wanted.requests, wanted.texts)

    def left(self, wanted: Wanted) -> dict[str, int]:
        """See `Store`."""
        from serving.warehouse.forget import find_left

        with self._client() as client:
            return find_left(client, wanted.requests, wanted.texts)

    @contextmanager
    def _client(self) -> Iterator[Any]:
        from serving.warehouse.connect import connect

        with connect(self.var) as client:
            yield client


@dataclass(frozen=True)
class Lakehouse:
    """The Delta tables."""

    root: str
    name: str = "lakehouse"

    def find(self, requests: Sequence[Request]) -> Found:
        """See `Store`."""
        from serving.lakehouse.forget import find_messages
        from serving.lakehouse.search import find_author_ids

        authors = find_author_ids(self.root, [request for request in requests if request.kind == "author"])
        found = find_messages(self.root, [*requests, *authors])
        return Found(found.ids, found.texts, authors)

    def forget(self, wanted: Wanted) -> dict[str, int]:
        """See `Store`."""
        from serving.lakehouse.forget import forget_messages

        return forget_messages(self.root, wanted.requests, bronze=True)

    def left(self, wanted: Wanted) -> dict[str, int]:
        """See `Store`."""
        from serving.lakehouse.forget import find_left

        return find_left(self.root, wanted.requests, bronze=True)


def stores_of(var: Path, root: str) -> list[Store]:
    """Return the stores that exist, in the order in which they are cleared: those that find messages by their text come first."""
    from serving.lakehouse.paths import LAYERS
    from serving.lakehouse.status import exists
    from serving.warehouse.connect import has_warehouse

    stores: list[Store] = [Feedback(var), Service(var)]
    if has_warehouse(var):
        stores.append(Warehouse(var))
    try:
        there = exists(root, LAYERS)
    except LakehouseError:  # not reachable: the store reports it when it is used
        there = True
    if there:
        stores.append(Lakehouse(root))
    return stores


def elsewhere(settings: ServingSettings) -> list[str]:
    """Return what copies this command does not reach, with the time within which they go by themselves."""
    notes = []
    if settings.jobs != "sqlite":
        notes.append("Jobs in DynamoDB: their texts expire within a day.")
    if settings.prediction_store in {"redis", "dynamodb"}:
        hours = settings.prediction_ttl_s / 3600
        notes.append(f"Predictions in {settings.prediction_store}: no text; they expire within {hours:g} h.")
    return notes


def _some(counts: dict[str, int]) -> dict[str, int]:
    return {table: count for table, count in counts.items() if count}
