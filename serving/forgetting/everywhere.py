"""Forgets in all stores, one after the other, and checks that nothing is left.

The requests are written down before anything changes, and removed once every store holds nothing of them. A process that is
killed in between, or a store that was not reachable, leaves them there, and the next call resumes. Stores without ids find a
message by its text, so they come before those from which the text is read.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from data.errors import GroundswellError
from data.forgetting import Request
from serving.forgetting import pending
from serving.forgetting.stores import Store, Wanted

Result = TypeVar("Result")


@dataclass
class Outcome:
    """What was removed from where, and what is left."""

    requests: list[Request]
    """What was asked for, and what is known about it: the ids of an author's messages, the ids of all edits."""
    removed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Rows by store and table."""
    left: dict[str, dict[str, int]] = field(default_factory=dict)
    """Rows that are still there, by store and table; only those above 0."""
    failed: dict[str, str] = field(default_factory=dict)
    """Errors of stores that were not reachable."""

    @property
    def done(self) -> bool:
        """Whether no store holds anything of it."""
        return not self.left and not self.failed


def forget_everywhere(var: Path, stores: Iterable[Store], requests: Sequence[Request] = ()) -> Outcome:
    """Forget requests, and all that are pending, in all stores. Blocks.

    Args:
        var: Holds the pending requests.
        stores: From `stores_of`, in its order.
        requests: New ones; without any, only the pending ones.

    Raises:
        GroundswellError: The requests cannot be written down; nothing was changed.
    """
    pending.add(var, requests)
    asked, files = pending.read(var)
    outcome = Outcome(asked)
    if not asked:
        return outcome
    stores = list(stores)
    wanted = _find(stores, asked, outcome)
    outcome.requests = list(wanted.requests)
    if (known := pending.add(var, wanted.requests)) is not None and known not in files:
        files.append(known)  # the ids are found no more once the first store is cleared
    for store in stores:
        if store.name in outcome.failed:
            continue
        if (removed := _tried(outcome, store, lambda store=store: store.forget(wanted))) is not None:
            outcome.removed[store.name] = removed
    for store in stores:
        if store.name not in outcome.failed and (left := _tried(outcome, store, lambda store=store: store.left(wanted))):
            outcome.left[store.name] = left
    if outcome.done:
        pending.remove(files)
    return outcome


def _find(stores: Sequence[Store], asked: Sequence[Request], outcome: Outcome) -> Wanted:
    """Collect ids and texts of the messages from all stores, until no store knows more of them."""
    requests = {(request.kind, request.value): request for request in asked}
    people = {request.value for request in asked if request.kind == "author"}
    texts: set[str] = set()
    before = -1
    while before != len(requests):  # one store knows the author, another one the text
        before = len(requests)
        for store in stores:
            found = _tried(outcome, store, lambda store=store: store.find(list(requests.values())))
            if found is None:
                continue
            texts |= found.texts
            for author in found.authors:
                requests.setdefault(("author", author.value), author)
            for identity in found.ids:
                requests.setdefault(("message", identity), replace(asked[0], kind="message", value=identity))
    return Wanted(list(requests.values()), frozenset(texts - {""}), frozenset(people))


def _tried(outcome: Outcome, store: Store, work: Callable[[], Result]) -> Result | None:
    """Return the result; None, with the error noted, if the store is not reachable."""
    try:
        return work()
    except GroundswellError as error:
        outcome.failed[store.name] = str(error)
    except Exception as error:  # clickhouse-connect, deltalake and sqlite3 raise unrelated classes
        outcome.failed[store.name] = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    return None
