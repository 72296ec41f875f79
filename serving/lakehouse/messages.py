"""Raw records to messages, in Python workers: the same reader and cleaning as everywhere else."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from data.cleaning import clean, hashtags, mentions
from data.language import Languages, language_of
from data.readable import MAX_TEXT_CHARS, unreadable
from data.tweets import NOT_JSON, Notice, Rejected, parse, read

MESSAGE = (
    "struct<item: int, notice: struct<kind: string, author: string, up_to_id: string, at: timestamp>, reason: string, "
    "id: string, first_id: string, edit: int, replaces: array<string>, text: string, cleaned: string, source: string, "
    "created_at: timestamp, edited_at: timestamp, lang: string, user_id: string, mentions: array<string>, "
    "hashtags: array<string>, true_label: string, is_share: boolean>"
)
"""One message of a record. `item` is its position in a record of many, null for the first; `notice` is null except for a notice;
`reason` is null for a message that can be classified."""
ANY = Languages()
"""No message is rejected because of its language."""
_TIME = pa.timestamp("us", "UTC")
_TEXTS = pa.list_(pa.string())
_NOTICE = pa.struct([("kind", pa.string()), ("author", pa.string()), ("up_to_id", pa.string()), ("at", _TIME)])
_TYPES = {
    **{"item": pa.int32(), "notice": _NOTICE, "reason": pa.string(), "id": pa.string(), "first_id": pa.string()},
    **{"edit": pa.int32(), "replaces": _TEXTS, "text": pa.string(), "cleaned": pa.string(), "source": pa.string()},
    **{"created_at": _TIME, "edited_at": _TIME, "lang": pa.string(), "user_id": pa.string(), "mentions": _TEXTS},
    **{"hashtags": _TEXTS, "true_label": pa.string(), "is_share": pa.bool_()},
}


def records_udf() -> Any:
    """Return a column function from a line's bytes to whether it holds one JSON object."""
    from pyspark.sql.functions import arrow_udf

    @arrow_udf("boolean")  # pyright: ignore[reportCallIssue, reportArgumentType]
    def is_record(lines: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for array in lines:
            yield pa.array([isinstance(parse(line or b""), dict) for line in array.to_pylist()], pa.bool_())

    return is_record


def messages_udf(languages: Languages) -> Any:
    """Return a column function from a line's bytes to its messages, an array of `MESSAGE`."""
    from pyspark.sql.functions import arrow_udf

    @arrow_udf(f"array<{MESSAGE}>")  # pyright: ignore[reportCallIssue, reportArgumentType]
    def messages(records: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for array in records:
            yield read_messages(array, languages)

    return messages


def read_messages(records: pa.Array, languages: Languages = ANY) -> pa.Array:
    """Read the lines of N records, bytes or text, to N lists of `MESSAGE`, each with at least one.

    Languages are detected only where `languages` rejects other ones.
    """
    rows: list[tuple[Any, ...]] = []
    ends = [0]
    for line in records.to_pylist():
        record = parse(line or b"")
        found = read(record) if isinstance(record, dict) else [Rejected("empty message" if record is None else NOT_JSON)]
        rows.extend(_row(one, number or None, languages) for number, one in enumerate(found))
        ends.append(len(rows))
    columns = zip(*rows, strict=True) if rows else [()] * len(_TYPES)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, _TYPES.values(), strict=True)]
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.StructArray.from_arrays(arrays, list(_TYPES)))


def _row(message: Any, item: int | None, languages: Languages) -> tuple[Any, ...]:
    """Return the values of `MESSAGE`."""
    if isinstance(message, Rejected):
        return (item, None, message.reason, message.message_id, *(None,) * 14)
    if isinstance(message, Notice):
        notice = (message.kind, message.author, message.up_to_id, message.at)
        stated = dict(zip(("kind", "author", "up_to_id", "at"), notice, strict=True))
        return (item, stated, f"notice: {message.kind}", message.message_id, *(None,) * 14)
    text = message.text
    cleaned = clean(text)
    reason: str | None = unreadable(text, MAX_TEXT_CHARS, cleaned=cleaned)
    if languages.reject and reason is None:
        reason = languages.rejection(language_of(text, message.lang))
    return (
        *(item, None, reason, message.message_id, message.first_id, len(message.replaces), message.replaces, text, cleaned),
        *(message.source, message.created_at, message.edited_at, message.lang, message.author),
        *((mentions(text), hashtags(text)) if reason is None else (None, None)),
        *(message.label, message.is_share),
    )
