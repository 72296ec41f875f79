"""The drivers of a shift: the texts that moved it most, and the words that are more frequent than usual.

Words are compared by the log-odds ratio with an informative Dirichlet prior (Monroe, Colaresi and Quinn, "Fightin' Words",
Political Analysis 16, 2008, equations 16 to 22). With y messages of n that contain the word, in the shift (i) and in the hour
before (j), and a = PRIOR · (its share of both together):

    delta = log((y_i + a) / (n_i + PRIOR - y_i - a)) - log((y_j + a) / (n_j + PRIOR - y_j - a))
    z = delta / sqrt(1 / (y_i + a) + 1 / (y_j + a))

Messages are counted, not occurrences, so that one long message cannot make a word frequent. The prior shrinks the score of rare
words. The comparison itself drops words that are frequent everywhere; the stop list only removes the noise of function words.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from data.cleaning import clean, decoded
from data.contracts import AlertWord
from serving.streaming.alerts.detector import Shift

TEXTS = 5
WORDS = 6
LEAST_Z = 3.0
"""Without a shift, at most one of some thousand words reaches this."""
LEAST_MESSAGES, LEAST_SHARE = 3, 0.02
PRIOR = 100.0
USUAL_S = 3600
"""The time before a shift with which its words are compared."""
_SHIFT_TEXTS, _USUAL_TEXTS = 2_000, 4_000
_SLICES = 12
_CHARS = 500
"""Of each text."""
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_EMOJI = re.compile(r"[\u2600-\u27bf\U0001f300-\U0001faff]")
_MASKS = frozenset({"user", "http"})
"""The words that cleaning puts for mentions and addresses."""
_FUNCTION_WORDS = (
    "about after again all also always and another any are aren't been because before being both but can can't cannot could "
    "couldn't did didn't does doesn't doing don't done down each even ever every few for from get gets getting going "
    "got had hadn't has hasn't have haven't having her here hers him his how i'd i'll i'm i've into isn't it'd it'll "
    "it's its just let let's like made make makes many may maybe might more most much must need now off once one only "
    "other our out over own really same say says see she should shouldn't since some still such take than that that's "
    "the their them then there there's these they they're thing things think this those though through till too two "
    "under until upon use used very want was wasn't way well went were weren't what what's when where which while who "
    "who's whom whose why will with without won't would wouldn't yes yet you you'd you'll you're you've your yours "
)
_STOP = frozenset(_FUNCTION_WORDS.split())


def moving_texts(client: Any, source: str, shift: Shift, limit: int = TEXTS) -> list[str]:
    """Return the texts between the start of a shift and its detection that moved it most: the lowest scores of a downward shift.

    Reads the days in which messages of that time can have arrived. Raises what the client raises if that takes over ten seconds.
    """
    order = "ASC" if shift.z < 0 else "DESC"
    rows = client.query(
        _MOVING.format(order=order, arrived=_ARRIVED),
        parameters={"source": source, "start": shift.started, "stop": shift.detected + 1, "limit": limit},
    ).result_rows
    return [row[0] for row in rows]


def driving_words(client: Any, source: str, shift: Shift) -> list[AlertWord]:
    """Return the words that messages of a shift contain more often than those of the hour before, strongest first.

    Reads at most 2,000 texts of the shift (up to its detection, or its end once it is closed) and 4,000 of the hour before, in
    twelve slices of time. Raises what the client raises when that takes over ten seconds.
    """
    stop = shift.closed or shift.detected + 1
    during = _texts(client, source, [(shift.started, stop)], _SHIFT_TEXTS)
    rate = (shift.usual_volume or 1) / max(1, shift.window_s)
    length = min(USUAL_S // _SLICES, max(1, math.ceil(_USUAL_TEXTS / _SLICES / max(rate, 0.001))))
    step = USUAL_S // _SLICES
    slices = [(shift.started - end, shift.started - end + length) for end in range(step, USUAL_S + 1, step)]
    return over_represented(during, _texts(client, source, slices, _USUAL_TEXTS))


def over_represented(during: Iterable[str], usual: Iterable[str]) -> list[AlertWord]:
    """Return words that are more frequent in one list of texts than in another, strongest first; none if a list is empty."""
    (seen, n), (before, m) = _counted(during), _counted(usual)
    if not n or not m:
        return []
    found = []
    for word, messages in seen.items():
        if messages < max(LEAST_MESSAGES, LEAST_SHARE * n):
            continue
        z = log_odds_z(messages, n, before[word], m)
        if z >= LEAST_Z:
            found.append(
                AlertWord(
                    word=word,
                    messages=messages,
                    share=round(messages / n, 4),
                    usual_share=round(before[word] / m, 4),
                    z=round(z, 2),
                )
            )
    return sorted(found, key=lambda each: (-each.z, each.word))[:WORDS]


def log_odds_z(y_i: int, n_i: int, y_j: int, n_j: int) -> float:
    """Return the z of the formula above: `y` of `n` messages contain the word."""
    prior = PRIOR * (y_i + y_j) / (n_i + n_j)
    with_i, with_j = y_i + prior, y_j + prior
    without_i, without_j = max(n_i + PRIOR - with_i, 0.5), max(n_j + PRIOR - with_j, 0.5)
    delta = math.log(with_i / without_i) - math.log(with_j / without_j)
    return delta / math.sqrt(1 / with_i + 1 / with_j)


def words_of(text: str) -> set[str]:
    """Return the words of a text, in lower case: at least three letters, or an emoji; no function words."""
    seen = decoded(text[:_CHARS])  # cleaning writes emoji as words; a person looks for the emoji itself
    words = _WORD.findall(clean(_EMOJI.sub(" ", seen)).lower().replace("\u2019", "'"))
    return {word for word in words if len(word) > 2 and word not in _STOP and word not in _MASKS} | set(_EMOJI.findall(seen))


def _counted(texts: Iterable[str]) -> tuple[Counter[str], int]:
    counts: Counter[str] = Counter()
    messages = 0
    for text in texts:
        counts.update(words_of(text))
        messages += 1
    return counts, messages


def _texts(client: Any, source: str, slices: list[tuple[int, int]], most: int) -> list[str]:
    within = " OR ".join(f"(event_at >= toDateTime64({a:d}, 3) AND event_at < toDateTime64({b:d}, 3))" for a, b in slices)
    start, stop = min(a for a, _ in slices), max(b for _, b in slices)
    rows = client.query(
        _SAMPLE.format(within=within, arrived=_ARRIVED),
        parameters={"source": source, "start": start, "stop": stop, "most": most, "chars": _CHARS},
    ).result_rows
    return [row[0] for row in rows]


_ARRIVED = """(produced_at >= now64(3) - INTERVAL 2 HOUR
           OR (produced_at >= toDateTime64({start:UInt32}, 3) - INTERVAL 1 HOUR
               AND produced_at < toDateTime64({stop:UInt32}, 3) + INTERVAL 1 HOUR))"""
_MOVING = """
SELECT text
FROM
(
    SELECT text, score
    FROM predictions
    WHERE source = {{source:String}} AND NOT forgotten AND NOT is_share
      AND event_at >= toDateTime64({{start:UInt32}}, 3) AND event_at < toDateTime64({{stop:UInt32}}, 3)
      AND {arrived}
    ORDER BY score {order}
    LIMIT 1000
)
GROUP BY text
ORDER BY any(score) {order}, text
LIMIT {{limit:UInt32}}
SETTINGS max_execution_time = 10
"""
# Without FINAL, which would read the texts of the whole day: LIMIT 1 BY removes the duplicates of a message.
_SAMPLE = """
SELECT substringUTF8(text, 1, {{chars:UInt32}})
FROM predictions
WHERE source = {{source:String}} AND NOT forgotten AND NOT is_share AND ({within}) AND {arrived}
LIMIT 1 BY topic, partition, offset
LIMIT {{most:UInt32}}
SETTINGS max_execution_time = 10
"""
