"""Compare two lists of predictions by id: the warehouse's, written by the stream's workers, and Gold's."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from serving.lakehouse.reading import query_gold

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["agree", "other version", "only in the stream", "only in Gold", "text", "label", "score", "label, other version"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The kinds of an id. Each id has exactly one:

- agree: same version, same label, scores within the tolerance;
- other version: classified by different versions or tiers (`model_key`), with the same label; scores are not compared;
- only in the stream, only in Gold;
- text: different texts under the same id, such as a correction that only one side has seen; predictions are not compared;
- label, score: same version, but a different label or score;
- label, other version: classified by different versions or tiers, with different labels.
"""
DIFFERENCES: tuple[Kind, ...] = KINDS[2:]
TOLERANCE = 0.001
"""Tolerance of a score in -1..1: probabilities have 4 decimals, and two builds of a runtime can differ in the last one."""
EXAMPLES = 100

_PAIRS = """
CREATE TEMP TABLE pairs AS
WITH both_sides AS (
    SELECT coalesce(s.id, g.id) AS id, coalesce(s.event_at, g.event_at) AS event_at,
           s.id IS NOT NULL AS in_stream, g.id IS NOT NULL AS in_gold, s.text_md5 AS text_stream, g.text_md5 AS text_gold,
           s.label AS label_stream, s.score AS score_stream, s.model_version AS version_stream,
           g.label, g.score, g.model_version,
           -- Gold keeps the prediction of every version: the one of the stream's version is compared, if there is one.
           g.answers[s.model_version] AS same
    FROM stream AS s FULL JOIN gold AS g ON s.id = g.id
), compared AS (
    SELECT * EXCLUDE (label, score, model_version, same),
           CASE WHEN same IS NULL THEN label ELSE same.label END AS label_gold,
           CASE WHEN same IS NULL THEN score ELSE same.positive - same.negative END AS score_gold,
           CASE WHEN same IS NULL THEN model_version ELSE version_stream END AS version_gold
    FROM both_sides
)
SELECT *, CASE
    WHEN NOT in_gold THEN 'only in the stream'
    WHEN NOT in_stream THEN 'only in Gold'
    WHEN text_stream <> text_gold THEN 'text'
    WHEN version_stream IS NOT DISTINCT FROM version_gold THEN CASE
        WHEN label_stream IS DISTINCT FROM label_gold THEN 'label'
        WHEN round(abs(score_stream - score_gold), 6) > $tolerance THEN 'score'
        ELSE 'agree' END
    WHEN label_stream IS DISTINCT FROM label_gold THEN 'label, other version'
    ELSE 'other version' END AS kind
FROM compared
"""
_EXAMPLES = """
SELECT kind, id, event_at, label_stream, label_gold, score_stream, score_gold, version_stream, version_gold
FROM pairs WHERE list_contains($differences, kind)
-- The kinds take turns, so that a frequent kind does not displace the others.
ORDER BY row_number() OVER (PARTITION BY kind ORDER BY id), list_position($differences, kind)
LIMIT $limit
"""


_STREAM = """
SELECT id, event_at, lower(hex(MD5(text))) AS text_md5, toString(label) AS label, toFloat64(score) AS score,
       concat(toString(model_version), if(tier IN ('', 'base'), '', concat('/', tier))) AS model_version
FROM predictions FINAL
WHERE event_at >= {since:DateTime64(3, 'UTC')} AND event_at < {until:DateTime64(3, 'UTC')}
  AND produced_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
  AND NOT forgotten
-- The copy of an id that would win in Silver.
ORDER BY id, created_at DESC NULLS LAST, produced_at DESC, topic DESC, partition DESC, offset DESC
LIMIT 1 BY id
SETTINGS use_skip_indexes_if_final_exact_mode = 0
"""
_COLUMNS = ["id", "event_at", "text", "label", "positive", "negative", "model_version", "answers"]
_GOLD = "SELECT * EXCLUDE (text, positive, negative), md5(text) AS text_md5, positive - negative AS score FROM gold"


@dataclass(frozen=True)
class Reconciliation:
    """The result of comparing two lists."""

    counts: dict[Kind, int]
    """Number of ids per kind, for every kind in the order of `KINDS`."""
    examples: tuple[dict[str, Any], ...]
    """At most `EXAMPLES` differing ids, with every kind present: kind, id, event_at; label, score and version of both sides."""

    @property
    def differences(self) -> int:
        """Number of ids that should be equal in both lists and are not."""
        return sum(self.counts[kind] for kind in DIFFERENCES)


def reconcile(stream: "pa.Table", gold: "pa.Table", *, tolerance: float = TOLERANCE) -> Reconciliation:
    """Compare two lists by id.

    Args:
        stream: One row per id: id, event_at, text_md5, label, score (positive minus negative), model_version
            (a `model_key`).
        gold: The same columns and Gold's `answers`. If they contain a prediction of the stream's version, that one is compared.
        tolerance: Scores of one version that differ by more are reported as differences.
    """
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": False}) as database:
        database.register("stream", stream)
        database.register("gold", gold)
        database.execute(_PAIRS, {"tolerance": tolerance})
        found = dict(database.execute("SELECT kind, count(*) FROM pairs GROUP BY kind").fetchall())
        examples = database.execute(_EXAMPLES, {"differences": list(DIFFERENCES), "limit": EXAMPLES})
        names = [column[0] for column in examples.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in examples.fetchall()]
    return Reconciliation({kind: found.get(kind, 0) for kind in KINDS}, tuple(rows))


def read_stream(client: Any, since: datetime, until: datetime) -> "pa.Table":
    """Read the warehouse's predictions of a range of event times, one row per id, as `reconcile` takes them."""
    import pyarrow as pa

    result = client.query(_STREAM, parameters={"since": since, "until": until})
    text, number, time = pa.string(), pa.float64(), pa.timestamp("ms", "UTC")
    types = {"id": text, "event_at": time, "text_md5": text, "label": text, "score": number, "model_version": text}
    columns = result.result_columns or [[]] * len(types)
    return pa.table([pa.array(c, t) for c, t in zip(columns, types.values(), strict=True)], names=list(types))


def read_gold(opened: Any, since: datetime, until: datetime) -> "pa.Table":
    """Read the predictions of a range of event times from Gold, a table of `open_table`, as `reconcile` takes them."""
    import pyarrow.compute as pc

    in_range = (
        # Gold is partitioned by date, so other days are not read.
        (pc.field("event_date") >= since.date())
        & (pc.field("event_date") <= until.date())
        & (pc.field("event_at") >= since)
        & (pc.field("event_at") < until)
    )
    return query_gold(opened.to_pyarrow_dataset().scanner(filter=in_range, columns=_COLUMNS).to_reader(), _GOLD)
