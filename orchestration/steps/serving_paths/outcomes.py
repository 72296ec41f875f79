"""What a path does with a text: a prediction, or a refusal with its reason."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from data.artifacts import write_text
from data.labels import LABELS
from data.readable import Unreadable
from orchestration.steps.serving_paths.rows import Row
from serving.service.schemas import MAX_TEXTS, MAX_WEIGHT, weight

_REASONS = {
    Unreadable.BLANK: ("is blank", "blank text"),
    Unreadable.NULL_BYTES: ("null bytes",),
    Unreadable.TOO_LONG: ("characters; at most", "text too long"),
    Unreadable.NO_TEXT: ("is not a string", "no text"),
}
"""How the paths write each reason."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one text on one path. Model, tier and head are None where a path does not report them."""

    label: str | None = None
    """None: refused."""
    probabilities: tuple[float, ...] = ()
    """In `LABELS` order, 0 to 1; empty: refused."""
    reason: str | None = None
    """Of a refusal, one of `Unreadable` where it is a known one."""
    model: str | None = None
    """Version, and the engine if that is not the default one."""
    tier: str | None = None
    head: str | None = None
    sarcasm: float | None = None
    """Probability that it is sarcastic, 0 to 1; None: not predicted. Every path reports it, so it is compared."""

    @property
    def is_refused(self) -> bool:
        """Whether the text got no prediction."""
        return self.label is None


Numbered = tuple[int, Outcome]
"""An outcome with the number of its row."""


def refused(reason: str | None) -> Outcome:
    """Return the outcome of a text that a path refuses, from the path's own words for the reason."""
    known = (name for name, words in _REASONS.items() if any(word in (reason or "") for word in words))
    return Outcome(reason=next(known, reason))


def of_entry(entry: Mapping[str, Any], model: str | None = None) -> Outcome:
    """Return the outcome in an entry of a response, of a job's results or of a prediction's row.

    Args:
        entry: With `error`, or with `label` and `probabilities` by label or in `LABELS` order; `tier` and `domain`, if known.
        model: If the entry has no `model_version`.
    """
    if "error" in entry:
        return refused(entry["error"])
    found = entry["probabilities"]
    probabilities = tuple(found[label] for label in LABELS) if isinstance(found, Mapping) else tuple(found)
    model = entry.get("model_version", model)
    named = {"tier": entry.get("tier"), "head": entry.get("domain"), "sarcasm": entry.get("sarcasm")}
    return Outcome(entry["label"], probabilities, model=model, **named)


def requests_of(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield rows in requests that `/v1/classify` accepts: of one domain, with at most 256 texts, fewer where they are long."""
    for group in by_domain(rows):
        request: list[Row] = []
        together = 0
        for row in group:
            if request and (len(request) == MAX_TEXTS or together + weight(row.text) > MAX_WEIGHT):
                yield request
                request, together = [], 0
            request.append(row)
            together += weight(row.text)
        yield request


def by_domain(rows: Iterable[Row]) -> list[list[Row]]:
    """Return the rows of each domain; one request has one."""
    ordered = sorted(rows, key=lambda row: row.domain or "")
    return [list(group) for _, group in groupby(ordered, key=lambda row: row.domain)]


def numbered(rows: Sequence[Row], outcomes: Iterable[Outcome]) -> Iterator[Numbered]:
    """Yield the outcomes of a response in the order of its texts; one too many has the number -1, which no row has."""
    numbers = [row.number for row in rows]
    for place, outcome in enumerate(outcomes):
        yield (numbers[place] if place < len(numbers) else -1), outcome


def write_outcomes(file: Path, outcomes: Iterable[Numbered]) -> None:
    """Write outcomes as JSON lines."""
    write_text(file, "".join(json.dumps([number, asdict(outcome)]) + "\n" for number, outcome in outcomes))


def read_outcomes(file: Path) -> list[Numbered]:
    """Read the outcomes of `write_outcomes`."""
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [(number, Outcome(**fields | {"probabilities": tuple(fields["probabilities"])})) for number, fields in lines]
