"""Labelled text arrives, is checked, and becomes splits."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import read_json, reuse_or_build, sha256_file, write_json
from data.catalog import DatasetSpec, load_catalog
from data.cleaning import CLEANING_VERSION
from data.errors import SourceUnavailable
from data.settings import DataSettings
from data.sources import RawSet, enabled, fetch, fetch_all, read_fetched
from orchestration.layout import Layout
from orchestration.progress import report

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from data.expectations import ValidationReport

SPLITS_VERSION = "1"
"""Raise it when the rules of `data/splits.py` change."""
VALIDATION_FILE = "validation.json"


@dataclass(frozen=True)
class Splits:
    """The checked rows, and what was taken out to get there."""

    fingerprint: str
    counts: dict[str, int]
    rows: dict[str, int]
    notices: list[str]


def fetch_sets(layout: Layout, names: list[str] | None = None) -> list[RawSet]:
    """Fetch every enabled set, or those named."""
    settings = DataSettings.load(datasets=names)
    return fetch_all(load_catalog(), settings, layout.raw, progress=report)


def fetch_one(layout: Layout, spec: DatasetSpec) -> RawSet:
    """Fetch one set."""
    return fetch(spec, DataSettings.load(), layout.raw)


def is_enabled(spec: DatasetSpec) -> bool:
    """Whether the settings ask for this set."""
    return spec in enabled(load_catalog(), DataSettings.load())


def is_asked_for(spec: DatasetSpec) -> bool:
    """Whether the settings name this set: then it must be had."""
    return spec.name in (DataSettings.load().datasets or [])


def fetched_sets(layout: Layout) -> list[RawSet]:
    """The enabled sets that were fetched."""
    wanted = enabled(load_catalog(), DataSettings.load())
    return [raw for spec in wanted if (raw := read_fetched(layout.raw, spec.name)) is not None]


def validated_sets(layout: Layout) -> list[RawSet]:
    """The enabled datasets that were fetched and passed their suite."""
    return [raw for raw in fetched_sets(layout) if validate(raw).success]


def read_raw(raw: RawSet) -> "pd.DataFrame":
    """The rows of one fetched set."""
    import pandas as pd

    return pd.read_parquet(raw.path)


def validate(raw: RawSet) -> "ValidationReport":
    """Run the suite for one fetched dataset."""
    from data.expectations import validate_raw

    return _kept_report(raw.path.parent, lambda: validate_raw(read_raw(raw), load_catalog()[raw.name]))


def _kept_report(folder: Path, run: "Callable[[], ValidationReport]") -> "ValidationReport":
    """The report on the rows of a folder, kept beside them; it goes with them when they are written again.

    Great Expectations takes ten seconds to import: unchanged rows do not pay for it again.
    """
    from data import expectations

    kept, suite = folder / VALIDATION_FILE, sha256_file(Path(expectations.__file__))
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = read_json(kept)
        if known["suite"] == suite:
            return expectations.ValidationReport.from_dict(known["report"])
    report = run()
    write_json(kept, {"suite": suite, "report": asdict(report)})
    return report


def build_splits(layout: Layout, raw_sets: list[RawSet]) -> Splits:
    """Remove repeats and leaks, set conflicts aside, and write `texts.parquet` and `removed.parquet`.

    Raises:
        SourceUnavailable: There is no set at all.
    """
    if not raw_sets:
        raise SourceUnavailable(
            "There is no labelled text at all.", remedy="Set GROUNDSWELL_DATA__DIR, or see configs/datasets.yaml."
        )

    def build(folder: Any) -> None:
        import pandas as pd

        from data.fingerprint import fingerprint
        from data.sources.reading import write_labelled
        from data.splits import make_splits

        report("removing repeats and leaks")
        frozen = frozenset(name for name, spec in load_catalog().items() if spec.official_splits)
        rows = pd.concat([read_raw(raw) for raw in raw_sets], ignore_index=True)
        result = make_splits(rows, frozen_sets=frozen)
        write_labelled(folder / "texts.parquet", result.kept)
        write_labelled(folder / "removed.parquet", result.removed)
        rows = result.kept.groupby(["source", "split"]).size()
        write_json(
            folder / "report.json",
            {
                "fingerprint": fingerprint(result.kept),
                "counts": result.counts,
                "rows": {f"{source}/{split}": int(n) for (source, split), n in rows.items()},  # type: ignore[misc]
                "notices": sorted({raw.notice for raw in raw_sets if raw.notice}),
            },
        )

    key = {
        "sets": {raw.name: raw.fingerprint for raw in raw_sets},
        "cleaning": CLEANING_VERSION,
        "splits": SPLITS_VERSION,
    }
    reuse_or_build(layout.splits, key, build)
    return read_splits(layout)


def read_splits(layout: Layout) -> Splits:
    """What `build_splits` reported."""
    try:
        return Splits(**read_json(layout.splits / "report.json"))
    except OSError as error:
        raise SourceUnavailable("There are no splits yet.", remedy="Run `groundswell data` first.") from error


def check_splits(layout: Layout) -> "ValidationReport":
    """Run the suite for split data."""
    from data.expectations import validate_splits

    return _kept_report(layout.splits, lambda: validate_splits(read_texts(layout)))


def read_texts(layout: Layout, split: str | None = None, *, sets: list[str] | None = None) -> "pd.DataFrame":
    """Rows with a sentiment label, of one split or all, of the named sets or all."""
    import pandas as pd

    frame = pd.read_parquet(layout.splits / "texts.parquet")
    keep = frame["label"].notna()
    if split:
        keep &= frame["split"] == split
    if sets is not None:
        keep &= frame["source"].isin(sets)
    return frame[keep].reset_index(drop=True)


def only_sample(layout: Layout) -> bool:
    """Whether the project's own sample is all there is."""
    catalog = load_catalog()
    return all(catalog[name.split("/")[0]].sample for name in read_splits(layout).rows)


def training_sets() -> list[str]:
    """Names of the sets models are trained on; the others are for judging only."""
    return [name for name, spec in load_catalog().items() if spec.train]
