"""Finds messages in the tables, without Spark: by id, by the ids of earlier edits, by author and time."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from data.forgetting import BY_HAND, Request
from data.tweets import Notice, Rejected, Tweet, parse, read
from serving.lakehouse.status import open_table

if TYPE_CHECKING:
    from deltalake import DeltaTable

_MOST_VALUES = 1_000
"""Most ids of one expression."""


def find_author_ids(root: str, authors: Sequence[Request]) -> list[Request]:
    """Return requests for the ids of authors that were asked for by name, as records state them. Reads all of Bronze."""
    names = {request.value.removeprefix("@").casefold(): request for request in authors}
    if not names:
        return []
    pattern = "(?i)" + "|".join(re.escape(name) for name in names)
    mentioned = compute().match_substring_regex(compute().field("raw"), pattern)
    found: dict[str, Request] = {}
    for row in scan(open_table(root, "bronze"), ["raw"], mentioned):
        for name, identity in _people(parse(row["raw"])):
            if (request := names.get(name.casefold())) and identity != request.value:
                found[identity] = replace(request, value=identity)
    return list(found.values())


def _people(value: Any) -> Iterator[tuple[str, str]]:
    """Yield name and id of every account in a record, at any depth."""
    if isinstance(value, list):
        for one in value:
            yield from _people(one)
    elif isinstance(value, dict):
        identity = next((value[key] for key in ("id_str", "id", "did") if isinstance(value.get(key), str | int)), None)
        for key in ("screen_name", "username", "acct", "preferredUsername", "handle"):
            if identity is not None and isinstance(value.get(key), str):
                yield value[key], str(identity).rpartition(":")[2] if key == "preferredUsername" else str(identity)
        for one in value.values():
            yield from _people(one)


def scan(opened: "DeltaTable", columns: Sequence[str], wanted: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows that meet a condition, with its columns among `columns`. Reads these columns of all files.

    The condition is applied to each batch: pyarrow cannot compare it with deltalake's statistics, whose texts have another type.
    """
    import pyarrow as pa

    for batch in opened.to_pyarrow_dataset().scanner(columns=[*columns]).to_batches():
        yield from pa.Table.from_batches([batch]).filter(wanted).to_pylist()


def values_of(opened: "DeltaTable", column: str) -> set[str]:
    """Return the distinct values of a column, without null. Reads that column of all files."""
    batches = opened.to_pyarrow_dataset().scanner(columns=[column]).to_batches()
    return {value for batch in batches for value in batch.column(0).unique().to_pylist() if value is not None}


def message_rows(opened: "DeltaTable", requests: Sequence[Request], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Silver or Gold that requests are about: by id, by the id of any earlier edit, by author and time."""
    pc = compute()
    ids = {request.value for request in requests if request.kind == "message"}
    until = {request.value: request.requested_at for request in requests if request.kind == "author"}
    wanted = among("id", ids) | among("first_id", ids) | among("user_id", until)
    if ids:
        wanted |= pc.list_value_length(pc.field("replaces")) > 0
    names = [*dict.fromkeys((*columns, "id", "first_id", "replaces", "user_id", "event_at"))]
    for row in scan(opened, names, wanted):
        upto = until.get(row["user_id"])
        if ids & {row["id"], row["first_id"], *(row["replaces"] or ())} or (upto is not None and row["event_at"] <= upto):
            yield row


def rejected_ids(opened: "DeltaTable", requests: Sequence[Request]) -> Iterator[str]:
    """Yield the ids of rejected copies that requests are about, each once."""
    ids = {request.value for request in requests if request.kind == "message"}
    authors = [request for request in requests if request.kind == "author"]
    found = [row["id"] for row in scan(opened, ["id"], among("id", ids))]
    if authors:
        rows = scan(opened, ["id", "raw"], _mentions("raw", authors))
        found += [row["id"] for row in rows if row["id"] and _messages(row["raw"], authors)]
    yield from dict.fromkeys(found)


def bronze_records(root: str, requests: Sequence[Request]) -> list[tuple[tuple[str, int, int], list[Tweet]]]:
    """Return the place of each record of Bronze that is about a request by hand, with its messages. Reads all of Bronze.

    The records that notices are about are known from the rejects table; see `purge_bronze`.
    """
    requests = [request for request in requests if request.reason == BY_HAND]
    if not requests:
        return []
    columns = ["raw", "source_file", "topic", "block", "line"]
    found = []
    for row in scan(open_table(root, "bronze"), columns, _mentions("raw", requests)):
        if messages := _messages(row["raw"], requests):
            place = (row["source_file"] or row["topic"], row["block"], row["line"])
            found.append((place, [message for message in messages if isinstance(message, Tweet)]))
    return found


def _mentions(column: str, requests: Iterable[Request]) -> Any:
    """Return a condition that every record about a request meets: it contains the id somewhere."""
    pc = compute()
    values = sorted({request.value for request in requests})
    if len(values) > _MOST_VALUES:  # too many for one expression: every record is parsed
        return pc.field(column).is_valid()
    return pc.match_substring_regex(pc.field(column), "|".join(map(re.escape, values)))


def _messages(raw: str | None, requests: Iterable[Request]) -> list[Tweet | Notice]:
    """Return the messages and notices of a record that requests are about."""
    record = parse(raw) if raw is not None else None
    ids, authors = set(), {}
    for request in requests:
        if request.kind == "message":
            ids.add(request.value)
        else:
            authors[request.value] = request.requested_at
    found: list[Tweet | Notice] = []
    for message in read(record) if isinstance(record, dict) else ():
        if isinstance(message, Rejected):
            continue
        at = message.created_at if isinstance(message, Tweet) else None
        upto = authors.get(message.author or "")
        replaced = message.replaces if isinstance(message, Tweet) else ()
        if ids & {message.message_id, *replaced} or (upto is not None and (at is None or at <= upto)):
            found.append(message)
    return found


def among(column: str, values: Iterable[str]) -> Any:
    import pyarrow as pa

    return compute().field(column).isin(pa.array(sorted(values), pa.string()))


def compute() -> Any:
    import pyarrow.compute

    return pyarrow.compute  # without types: its functions are made at import
