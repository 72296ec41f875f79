"""The state that the retraining sensors read. Nothing is fetched or written here."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import digest, read_json
from data.catalog import DatasetSpec
from data.errors import DataError, GroundswellError
from data.settings import DataSettings
from data.sources import fetched, find, read_labeled
from data.sources.reading import Source
from orchestration.layout import Layout
from orchestration.retraining import Quality, RetrainingState, config_digest
from orchestration.steps.data import (
    enabled_datasets,
    is_required,
    read_raw,
    read_splits,
    rows_by_split,
    split_rows,
    training_rows,
)
from serving.ledger import Move, current_moves

if TYPE_CHECKING:
    import pandas as pd

TRAINED_FILE = "trained.json"
"""In the gate's folder: the sources and rows of the data that the last gate decision was about."""


@dataclass(frozen=True)
class _Now:
    """A dataset with the present state of its source."""

    spec: DatasetSpec
    source: Source
    kept: bool
    """The copy that was fetched last equals the source."""


def labeled(layout: Layout) -> dict[str, Any]:
    """Return what the last training used, for `TRAINED_FILE`: rows by dataset, and the identity of each source."""
    splits = read_splits(layout)
    return {"training_rows": training_rows(splits.rows), "sources": splits.sources}


def read_state(layout: Layout, enough: int) -> RetrainingState:
    """Read everything that a retraining decision depends on.

    Args:
        layout: Where to read.
        enough: New rows that a retraining needs. Fewer are counted without a search for duplicates in other datasets.
    """
    now = _sources(layout)
    identities = {one.spec.name: one.source.identity for one in now}
    move = _production_move(layout)
    version = Path(move["bundle"]).name if move else None
    new_rows, at_most = _new_rows(layout, now, identities, enough)
    return RetrainingState(
        data_digest=digest(identities),
        config_digest=config_digest(),
        new_rows=new_rows,
        at_most=at_most,
        production_version=version,
        production_since=datetime.fromisoformat(move["at"]) if move else None,
        quality=_quality(layout, version),
    )


def _sources(layout: Layout) -> list[_Now]:
    """Return the enabled datasets that can be read here; a dataset that is only on the hub counts if it was fetched."""
    sources = []
    for spec in enabled_datasets(layout):
        try:
            source = find(spec, DataSettings.load())
            kept = fetched(spec, DataSettings.load(), layout.raw) is not None
        except DataError:
            continue
        if kept or source.origin != "hub":
            sources.append(_Now(spec, source, kept))
    return sources


def _new_rows(layout: Layout, now: list[_Now], identities: dict[str, str], enough: int) -> tuple[int | None, bool]:
    try:
        trained = read_json(layout.gate / TRAINED_FILE)
        before, sources = dict(trained["training_rows"]), trained["sources"]
    except (OSError, KeyError):
        return None, False
    changed = [one for one in now if one.spec.train and sources.get(one.spec.name) != one.source.identity]
    if not changed:
        return 0, False
    at_most = sum(_usable(_frame(layout, one)) - before.get(one.spec.name, 0) for one in changed)
    if at_most < enough:
        return max(at_most, 0), at_most > 0
    return _counted.count(layout, now, identities) - sum(before.values()), False


def _usable(frame: "pd.DataFrame | None") -> int:
    """Return how many rows of a dataset training could use at most: labeled, not for another split, each text once."""
    from data.cleaning import normalize

    if frame is None:
        return 0
    rows = frame[frame["label"].notna() & frame["split"].isin(["train", ""])]
    return len({normalize(text) for text in rows["text"].fillna("")})


def _frame(layout: Layout, one: _Now) -> "pd.DataFrame | None":
    """Return the rows of a source; None where they cannot be read, which leaves the dataset out of a training too."""
    if one.kept and (raw := fetched(one.spec, DataSettings.load(), layout.raw)):
        return read_raw(raw)
    try:
        return read_labeled(one.source, one.spec)[0]
    except DataError:
        return None


class _Counted:
    """The last exact count. It takes seconds, and a process that evaluates sensors needs it every few minutes."""

    def __init__(self) -> None:
        self.key: object = None
        self.rows = 0

    def count(self, layout: Layout, now: list[_Now], identities: dict[str, str]) -> int:
        """Return the number of rows that training would use, as counted by the splits."""
        key = (layout, identities, config_digest())
        if key != self.key:
            self.rows, self.key = _count(layout, now), key
        return self.rows


_counted = _Counted()


def _count(layout: Layout, now: list[_Now]) -> int:
    from data.expectations import validate_raw

    frames = []
    for one in now:
        frame = _frame(layout, one)
        if frame is None or (not is_required(one.spec) and not validate_raw(frame, one.spec, origin=one.source.origin).success):
            continue
        frames.append(frame)
    return sum(training_rows(rows_by_split(split_rows(frames).kept)).values())


def _quality(layout: Layout, version: str | None) -> Quality | str:
    try:
        report = read_json(layout.quality)
    except OSError:
        return "macro-recall not measured yet (job of the schedule daily_quality)"
    if report.get("version") != version:
        return f"macro-recall of {version} not measured yet"
    if "skipped" in report:
        return f"macro-recall not measured: {report['skipped']}"
    recall = report["macro_recall"]
    return Quality(recall["value"], recall["low"], recall["high"], report["rows"])


def _production_move(layout: Layout) -> Move | None:
    try:
        return current_moves(layout.var).get("production")
    except GroundswellError:
        return None
