"""Forgets messages in the tables, without Spark; streams may run meanwhile.

`forgotten` is a fifth table, of hashed ids and authors. The writers of Silver and Gold leave out what it covers, so that a late
copy, a repetition of Bronze or a row that Gold has not seen yet does not bring a message back. The rows of Silver become rows of
the rejects table without id and content: so the counts still add up, and their places name the records of Bronze that have to go.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from data.forgetting import Request, forget_key
from serving.lakehouse.forgotten import read_keys, remember
from serving.lakehouse.locks import table_commit_lock
from serving.lakehouse.paths import Layer, table
from serving.lakehouse.search import among, bronze_records, compute, message_rows, rejected_ids, scan, values_of
from serving.lakehouse.status import FORGOTTEN, forgotten_records, open_table

if TYPE_CHECKING:
    from deltalake import DeltaTable

REASON = "forgotten: "
"""Begins the reason of a rejected record that is forgotten; the kind of the notice follows, or `by hand`."""
NOTICE = "notice: "
"""Begins the reason of a record that is itself a notice."""
_SCRUB = "scrub_geo "
"""Begins the reason of the key of places; the id of the newest message that is meant follows, if the notice has one."""
_AT_ONCE = 1_000
"""Most ids of one condition."""
_CONTENT = ("id", "raw", "rescued")
"""Columns of the rejects table that a forgotten record loses."""


@dataclass
class Found:
    """Messages that the tables hold."""

    ids: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)


def find_messages(root: str, requests: Sequence[Request]) -> Found:
    """Return the ids and texts of the messages that requests are about, from Silver and all of Bronze."""
    found = Found()
    for row in message_rows(open_table(root, "silver"), requests, ("id", "text")):
        found.ids.add(row["id"])
        found.texts.add(row["text"])
    for _, messages in bronze_records(root, requests):
        found.ids.update(message.message_id for message in messages)
        found.texts.update(message.text for message in messages)
    return found


def forget_messages(root: str, requests: Sequence[Request], *, bronze: bool) -> dict[str, int]:
    """Take messages out of the tables. Blocks; a repeated call finishes what a killed one left.

    Args:
        root: Of the tables.
        requests: The messages and authors.
        bronze: Whether the records of Bronze go at once; otherwise they follow with the next `maintain`.

    Returns:
        Rows that were removed or lost their content, by table.
    """
    if not requests:
        return {}
    requests = _with_edits(root, requests)
    remember(root, requests)
    # While Silver has a row, a repeated call finds the earlier edits of its message.
    counts = {"silver_rejected": _clear_rejected(root, requests)}
    counts["silver"] = _reject(root, requests)
    counts["gold"] = _delete(root, "gold", requests)
    if bronze:
        counts["bronze"] = purge_bronze(root, [place for place, _ in bronze_records(root, requests)])
    return counts


def find_left(root: str, requests: Sequence[Request], *, bronze: bool) -> dict[str, int]:
    """Return, by table, how many rows still hold one of the messages. Empty: none. Old versions are not looked at."""
    left = {layer: sum(1 for _ in message_rows(open_table(root, layer), requests, ("copy",))) for layer in ("silver", "gold")}
    left["silver_rejected"] = len(list(rejected_ids(open_table(root, "silver_rejected"), requests)))
    if bronze:
        left["bronze"] = len(bronze_records(root, requests))
    return {layer: count for layer, count in left.items() if count}


def _with_edits(root: str, requests: Sequence[Request]) -> list[Request]:
    """Add a request for each id of the messages that Silver holds: of an author's messages, and of all edits of a message."""
    reasons = {request.value: request for request in requests}
    wanted = {(request.kind, request.value): request for request in requests}
    for row in message_rows(open_table(root, "silver"), requests, ()):
        ids = [row["id"], row["first_id"], *(row["replaces"] or ())]
        given = next((reasons[value] for value in (*ids, row["user_id"]) if value in reasons), requests[0])
        for value in ids:
            wanted.setdefault(("message", value), Request("message", value, given.reason, given.requested_at))
    return list(wanted.values())


def places_of(author: str, up_to_id: str | None) -> Request:
    """Return the request to forget where an author's messages were written, up to an id (None: of all)."""
    return Request("places", author, f"{_SCRUB}{up_to_id if _number(up_to_id) is not None else ''}")


def scrub(root: str) -> int:
    """Delete the raw records of messages whose places are to be forgotten; the messages stay. Blocks.

    Every notice so far counts: a message may have been written after the notice. A repeated call changes nothing.

    Returns:
        How many records of Bronze were deleted.
    """
    upto: dict[str, int | None] = {}
    for row in read_keys(root):
        if row["kind"] == "places":
            newest = _number(row["reason"].removeprefix(_SCRUB))
            known = upto.get(row["key"], -1)
            upto[row["key"]] = None if newest is None or known is None else max(newest, known)
    if not upto:
        return 0
    silver = open_table(root, "silver")
    authors = {author: upto[key] for author in values_of(silver, "user_id") if (key := forget_key("places", author)) in upto}
    asked = [Request("author", author, requested_at=datetime.max.replace(tzinfo=UTC)) for author in authors]
    rows = [
        row
        for row in message_rows(silver, asked, ("copy",))
        if (newest := authors[row["user_id"]]) is None or _number(row["id"], 0) <= newest
    ]
    ids = [row["id"] for row in rows]
    with _writing(root, "silver_rejected") as rejected:
        for part in _parts(ids):
            has_content = "(raw IS NOT NULL OR rescued IS NOT NULL)"
            rejected.update({"raw": "NULL", "rescued": "NULL"}, predicate=f"{_condition(part)} AND {has_content}")
        places = {_place(row["copy"])[:3] for row in rows}
        places |= {_place(row["copy"])[:3] for row in scan(rejected, ["id", "copy"], among("id", ids))}
    return purge_bronze(root, places) if rows else 0


def _number(identity: str | None, default: Any = None) -> Any:
    return int(identity) if identity is not None and identity.isascii() and identity.isdigit() else default


def purge_bronze(root: str, places: Iterable[tuple[str, int, int]] = ()) -> int:
    """Delete records of Bronze: those that the rejects table lists as forgotten, and those in given places. Blocks.

    The same commit adds them to the total of deleted records, so that the counts of `status` add up.

    Args:
        root: Of the tables.
        places: Origin (file or topic), block and line.

    Returns:
        How many were deleted.
    """
    import pyarrow as pa

    pc = compute()
    from deltalake import CommitProperties, Transaction

    cleared = pc.starts_with(pc.field("reason"), REASON) | pc.starts_with(pc.field("reason"), NOTICE)
    rejected = scan(open_table(root, "silver_rejected"), ["reason", "copy"], cleared)
    wanted = {_place(row["copy"])[:3] for row in rejected} | set(places)
    if not wanted:
        return 0
    columns = [pa.array(column) for column in zip(*sorted(wanted), strict=True)]
    gone = pa.table(columns, names=["origin", "block", "line"])
    place = "coalesce(b.source_file, b.topic) = s.origin AND b.block = s.block AND b.line = s.line"
    with _writing(root, "bronze") as bronze:
        count = _count_places(bronze, wanted)
        if count:
            total = Transaction(FORGOTTEN, forgotten_records(bronze) + count)
            properties = CommitProperties(app_transactions=[total])
            merge = bronze.merge(gone, place, source_alias="s", target_alias="b", commit_properties=properties)
            merge.when_matched_delete().execute()
    return count


def _count_places(bronze: "DeltaTable", wanted: set[tuple[str, int, int]]) -> int:
    columns = bronze.to_pyarrow_table(columns=["source_file", "topic", "block", "line"]).to_pylist()
    return sum((row["source_file"] or row["topic"], row["block"], row["line"]) in wanted for row in columns)


def _reject(root: str, requests: Sequence[Request]) -> int:
    """Move rows of Silver to the rejects table, without content; return how many."""
    reasons = {request.value: request.reason for request in requests}
    with _writing(root, "silver") as silver, _writing(root, "silver_rejected") as rejected:
        rows = list(message_rows(silver, requests, ("id", "user_id", "copy")))
        if not rows:
            return 0
        known = _forgotten_copies(rejected)  # by a call that was killed before it deleted them
        new = {
            _place(row["copy"]): (REASON + reasons.get(row["id"], reasons.get(row["user_id"], "by hand")), row["copy"])
            for row in rows
            if _place(row["copy"]) not in known
        }
        if new:
            _append_rejected(rejected, list(new.values()))
        _delete_ids(silver, [row["id"] for row in rows])
    return len(rows)


def _append_rejected(rejected: "DeltaTable", rows: list[tuple[str, dict[str, Any]]]) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    schema = pa.schema(rejected.schema().to_arrow())  # pyright: ignore[reportArgumentType]  # of another Arrow library
    now = datetime.now(UTC)
    given = [{"reason": reason, "copy": copy, "rejected_at": now} for reason, copy in rows]
    write_deltalake(rejected, pa.Table.from_pylist(given, schema=schema), mode="append")


def _forgotten_copies(rejected: "DeltaTable") -> set[tuple[Any, ...]]:
    cleared = compute().starts_with(compute().field("reason"), REASON)
    return {_place(row["copy"]) for row in scan(rejected, ["reason", "copy"], cleared)}


def _place(copy: dict[str, Any]) -> tuple[Any, ...]:
    return copy["origin"], copy["block"], copy["line"], copy.get("item")


def _clear_rejected(root: str, requests: Sequence[Request]) -> int:
    """Take the content out of rejected copies of messages; return of how many."""
    count = 0
    with _writing(root, "silver_rejected") as rejected:
        for reason in sorted({request.reason for request in requests}):
            ids = list(rejected_ids(rejected, [request for request in requests if request.reason == reason]))
            for part in _parts(ids):
                kept = f"CASE WHEN starts_with(reason, '{NOTICE}') THEN reason ELSE {_quoted(REASON + reason)} END"
                new = dict.fromkeys(_CONTENT, "NULL") | {"reason": kept}
                count += int(rejected.update(new, predicate=_condition(part))["num_updated_rows"])
    return count


def _delete(root: str, layer: Layer, requests: Sequence[Request]) -> int:
    with _writing(root, layer) as opened:
        return _delete_ids(opened, [row["id"] for row in message_rows(opened, requests, ())])


def _delete_ids(opened: "DeltaTable", ids: Sequence[str]) -> int:
    return sum(int(opened.delete(_condition(part))["num_deleted_rows"] or 0) for part in _parts(ids))


@contextmanager
def _writing(root: str, layer: Layer) -> "Iterator[DeltaTable]":
    """Open a table for a commit, under its lock."""
    with table_commit_lock(table(root, layer)):
        yield open_table(root, layer)


def _parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))


def _condition(ids: Iterable[str]) -> str:
    return f"id IN ({', '.join(map(_quoted, ids))})"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
