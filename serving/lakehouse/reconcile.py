"""Whether two lists of answers agree: the warehouse's, which the stream's workers write, and Gold."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["agree", "other version", "only in the stream", "only in Gold", "text", "label", "score", "label, other version"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What an id can be, each exactly one of these:

- agree: one version, one label, scores within the tolerance;
- other version: another version judged it there, to the same label; scores are not compared;
- only in the stream, only in Gold;
- text: another text under the same id, such as a correction that only one of them has seen; answers are not compared;
- label, score: of one version, and not the same;
- label, other version: not the same, and another version judged it there.
"""
DIFFERENCES: tuple[Kind, ...] = KINDS[2:]
TOLERANCE = 0.001
"""Of a score, which lies in -1..1: probabilities are kept to 4 decimals, and two builds of a runtime differ in the last."""
EXAMPLES = 100

_PAIRS = """
CREATE TEMP TABLE pairs AS
WITH both_sides AS (
    SELECT coalesce(s.id, g.id) AS id, coalesce(s.event_at, g.event_at) AS event_at,
           s.id IS NOT NULL AS in_stream, g.id IS NOT NULL AS in_gold, s.text_md5 AS text_stream, g.text_md5 AS text_gold,
           s.label AS label_stream, s.score AS score_stream, s.model_version AS version_stream,
           g.label, g.score, g.model_version,
           -- Gold keeps every version's answer: that of the stream's own version is the one to compare, if it is there.
           g.answers[s.model_version] AS same
    FROM stream AS s FULL JOIN gold AS g ON s.id = g.id
), answers AS (
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
FROM answers
"""
_EXAMPLES = """
SELECT kind, id, event_at, label_stream, label_gold, score_stream, score_gold, version_stream, version_gold
FROM pairs WHERE list_contains($differences, kind)
-- In turn of each kind, so that the commonest does not crowd out the others.
ORDER BY row_number() OVER (PARTITION BY kind ORDER BY id), list_position($differences, kind)
LIMIT $limit
"""


@dataclass(frozen=True)
class Reconciliation:
    """What two lists have in common."""

    counts: dict[Kind, int]
    """Ids by kind, every kind of `KINDS` in its order."""
    examples: tuple[dict[str, Any], ...]
    """At most `EXAMPLES` that differ, of every kind some: kind, id, event_at; label, score and version of both sides."""

    @property
    def differences(self) -> int:
        """Ids that should be the same in both and are not."""
        return sum(self.counts[kind] for kind in DIFFERENCES)


def reconcile(stream: "pa.Table", gold: "pa.Table", *, tolerance: float = TOLERANCE) -> Reconciliation:
    """Compare two lists by id.

    Args:
        stream: One row an id: id, event_at, text_md5, label, score (positive less negative), model_version.
        gold: The same, and `answers` as Gold has them. Where they hold one of the stream's version, that one is compared.
        tolerance: Scores of one version that differ by more are told.
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
