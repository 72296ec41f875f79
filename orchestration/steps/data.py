"""Fetch labeled text, validate it, and make splits."""

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from data.artifacts import read_json, reuse_or_build, sha256_file, write_json, write_text
from data.catalog import DatasetSpec, load_catalog, load_recipe
from data.cleaning import CLEANING_VERSION
from data.errors import DataError, SourceUnavailable
from data.labels import LABELS
from data.settings import DataSettings, profile_name
from data.sources import PAIRS, SCORED, RawDataset, fetch, fetched, find, last_fetched, local
from data.sources.origin import Origin, configured, enabled, from_hub, from_sample, hub_refusal
from evaluation.settings import EvaluationSettings
from orchestration.layout import Layout
from orchestration.progress import report

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from data.expectations import ValidationReport
    from data.splits import SplitResult

SPLITS_VERSION = "3"
"""Raise it when the rules of `data/splits.py` change."""
HUB_TIMEOUT_S = 10.0
"""Timeout of the request to the hub where no other source can replace it."""
VALIDATION_FILE = "validation.json"


@dataclass(frozen=True)
class Splits:
    """The validated rows, and how many were removed by reason."""

    fingerprint: str
    counts: dict[str, int]
    rows: dict[str, int]
    """By `dataset/split`."""
    notices: list[str]
    sources: dict[str, str] = field(default_factory=dict)
    """Each dataset's source as it was read: a checksum, or a revision."""
    reading: list[str] = field(default_factory=list)
    """One line each: how a file was read, and which of its rows were rejected or whose times were assumed."""


@dataclass(frozen=True)
class LeftOut:
    """An optional dataset that is not used in this run."""

    name: str
    why: str
    absent: bool
    """The dataset does not exist. This is no error: a data folder need not hold every dataset of the catalog."""


@dataclass(frozen=True)
class RawTexts:
    """The enabled datasets as they were fetched and validated."""

    datasets: list[RawDataset]
    left_out: dict[str, str]
    """Optional datasets that could not be fetched or failed their suite, with the reason; absent ones are not listed."""


def choose_origin(layout: Layout) -> Origin:
    """Decide once a run which texts are used. Requests the primary dataset from the hub where the settings leave it open.

    Raises:
        SourceUnavailable: See `data.sources.origin.configured`; or no enabled dataset is for training.
    """
    catalog, settings = load_catalog(), DataSettings.load()
    origin = configured(catalog, settings) or _hub_or_sample(layout, catalog, settings)
    specs = enabled(catalog, origin)
    if not any(spec.train for spec in specs):
        raise _nothing_to_train_on(specs, "no enabled dataset is for training (`train: true`)")
    _require_hub(layout, specs, settings)
    write_json(layout.origin, asdict(origin))
    return origin


def _require_hub(layout: Layout, specs: list[DatasetSpec], settings: DataSettings) -> None:
    """Stop if the primary dataset needs an unreachable hub, before the hub library tries each dataset for half a minute."""
    spec = next((spec for spec in specs if spec.name == EvaluationSettings.load().primary), None)
    if spec is None or spec.hub is None or settings.origin != "hub" or local.has_dataset(spec, settings.dir):
        return
    if not fetched(spec, settings, layout.raw) and (refusal := hub_refusal(spec, HUB_TIMEOUT_S)):
        raise SourceUnavailable(
            f"{spec.name}: {spec.hub.id} cannot be fetched.",
            found=refusal,
            remedy="Check the network and HF_ENDPOINT, or set GROUNDSWELL_DATA__DIR to a folder of labeled texts.",
        )


def _hub_or_sample(layout: Layout, catalog: dict[str, DatasetSpec], settings: DataSettings) -> Origin:
    spec = catalog.get(EvaluationSettings.load().primary)
    if spec is None or spec.hub is None:
        return from_sample(catalog, "the primary dataset has no place on the hub")
    if fetched(spec, settings, layout.raw):
        return from_hub(spec)
    report(f"asking the hub for {spec.hub.id}")
    if refusal := hub_refusal(spec):
        return from_sample(catalog, refusal)
    report(f"fetching {spec.hub.id} from the hub")
    try:
        fetch(spec, settings, layout.raw)
    except DataError as error:
        return from_sample(catalog, f"{spec.hub.id} could not be fetched ({error.found or error.message})")
    return from_hub(spec)


def read_origin(layout: Layout) -> Origin:
    """Return the last decision of `choose_origin`, or that of the settings where they decide alone. No request, no write.

    Raises:
        SourceUnavailable: See `data.sources.origin.configured`.
    """
    catalog = load_catalog()
    if origin := configured(catalog, DataSettings.load()):
        return origin
    try:
        known = read_json(layout.origin)
        return Origin(tuple(known["sets"]), known["text"], known["is_sample"])
    except OSError:
        return from_sample(catalog, "no run has requested it from the hub yet")


def enabled_datasets(layout: Layout) -> list[DatasetSpec]:
    """Return the datasets that are used."""
    return enabled(load_catalog(), read_origin(layout))


def is_enabled(layout: Layout, spec: DatasetSpec) -> bool:
    """Return whether this dataset is used."""
    return spec in enabled_datasets(layout)


def fetch_one(layout: Layout, spec: DatasetSpec) -> RawDataset | LeftOut:
    """Fetch one dataset; an optional one that fails is left out with its reason.

    Raises:
        DataError: It could not be fetched, and the settings name it or it is the primary one.
    """
    settings = DataSettings.load()
    there = False
    try:
        find(spec, settings)
        there = True
        raw = fetch(spec, settings, layout.raw)
    except DataError as error:
        absent = not there and isinstance(error, SourceUnavailable)
        if spec.name in (settings.datasets or []) or (is_required(spec) and not absent):
            raise
        why = error.message if absent else error.in_one_line
        write_text(_reason(layout, spec), why)
        return LeftOut(spec.name, why, absent)
    _reason(layout, spec).unlink(missing_ok=True)
    return raw


def is_required(spec: DatasetSpec) -> bool:
    """Return whether the run stops when this dataset fails: the settings name it, or it is the primary one."""
    return spec.name in (DataSettings.load().datasets or [EvaluationSettings.load().primary])


def fetch_datasets(layout: Layout) -> RawTexts:
    """Choose the origin, fetch every enabled dataset, and validate the optional ones.

    Raises:
        DataError: A required dataset could not be fetched.
    """
    choose_origin(layout)
    for spec in enabled_datasets(layout):
        report(f"fetching {spec.name}")
        fetch_one(layout, spec)
    return raw_texts(layout)


def raw_dataset(layout: Layout, spec: DatasetSpec) -> RawDataset | LeftOut:
    """Return the result of the last attempt to fetch a dataset."""
    try:
        raw = last_fetched(spec, DataSettings.load(), layout.raw)
        return LeftOut(spec.name, _reason(layout, spec).read_text(encoding="utf-8"), False)
    except DataError as error:
        return LeftOut(spec.name, error.message, isinstance(error, SourceUnavailable))
    except OSError:  # the last attempt did not fail
        return raw or LeftOut(spec.name, f"{spec.name} has not been fetched.", False)


def _reason(layout: Layout, spec: DatasetSpec) -> Path:
    """Return why the last attempt to fetch an optional dataset failed; absent when it did not."""
    return layout.raw / f"{spec.name}.left_out"


def raw_texts(layout: Layout) -> RawTexts:
    """Return the enabled datasets that were fetched; optional ones that fail their suite are left out."""
    datasets, left_out = [], {}
    for spec in enabled_datasets(layout):
        raw = raw_dataset(layout, spec)
        if isinstance(raw, LeftOut):
            if not raw.absent:
                left_out[spec.name] = raw.why
        elif not is_required(spec) and not (checked := validate(raw)).success:
            left_out[spec.name] = describe(checked)
        else:
            datasets.append(raw)
    return RawTexts(datasets, left_out)


def read_raw(raw: RawDataset) -> "pd.DataFrame":
    """Return the rows of one fetched dataset."""
    import pandas as pd

    return pd.read_parquet(raw.path)


def validate(raw: RawDataset) -> "ValidationReport":
    """Run the suite for one fetched dataset."""
    from data.expectations import validate_raw

    return _kept_report(raw.path.parent, lambda: validate_raw(read_raw(raw), load_catalog()[raw.name], origin=raw.origin))


def _kept_report(folder: Path, run: "Callable[[], ValidationReport]") -> "ValidationReport":
    """Return the report on the rows of a folder. It is stored next to them, and is replaced with them.

    Great Expectations takes ten seconds to import: the stored report saves that for unchanged rows.
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


def describe(checked: "ValidationReport") -> str:
    """Return the failed expectations in one line."""
    return "; ".join(
        f"{one.expectation}({one.column or ''}): {one.unexpected_count:,} rows, observed {one.observed}"
        for one in checked.failures
    )


def build_splits(layout: Layout, raw: RawTexts) -> Splits:
    """Remove duplicates, leakage and label conflicts, and write `texts.parquet` and `removed.parquet`.

    Raises:
        SourceUnavailable: No dataset is available.
    """
    if not raw.datasets:
        raise SourceUnavailable(
            "There is no labeled text.",
            found="; ".join(f"{name}: {why}" for name, why in raw.left_out.items()) or "no dataset",
            remedy="Set GROUNDSWELL_DATA__DIR, or see configs/datasets.yaml.",
        )
    sources = {one.name: one.identity for one in raw.datasets}
    reading = [f"{one.name}: {note}" for one in raw.datasets for note in one.notes]
    notices = [f"{name} is left out: {why}" for name, why in raw.left_out.items()] + _of_recipe(raw)

    def build(folder: Path) -> None:
        from data.fingerprint import fingerprint
        from data.sources.reading import write_labeled

        report("removing duplicates and leakage")
        result = split_rows([read_raw(one) for one in raw.datasets])
        write_labeled(folder / "texts.parquet", result.kept)
        write_labeled(folder / "removed.parquet", result.removed)
        write_json(
            folder / "report.json",
            {
                "fingerprint": fingerprint(result.kept),
                "counts": result.counts,
                "rows": rows_by_split(result.kept),
                "notices": notices,
                "reading": reading,
                "sources": sources,
            },
        )

    key = {
        "sets": {one.name: one.fingerprint for one in raw.datasets},
        "sources": sources,
        "notices": notices,
        "reading": reading,
        "cleaning": CLEANING_VERSION,
        "splits": SPLITS_VERSION,
    }
    reuse_or_build(layout.splits, key, build)
    return read_splits(layout)


def _of_recipe(raw: RawTexts) -> list[str]:
    """Return what the recipe of the settings lacks here."""
    if (recipe := load_recipe(load_catalog())) is None:
        return []
    absent = [name for name in recipe.train if name not in {one.name for one in raw.datasets}]
    lacks = ([f"not available: {', '.join(absent)}"] if absent else []) + ([recipe.missing] if recipe.missing else [])
    return [f"recipe {DataSettings.load().recipe}: {'; '.join(lacks)}"] if lacks else []


def split_rows(frames: "list[pd.DataFrame]") -> "SplitResult":
    """Split the rows of several datasets by the rules of the catalog."""
    import pandas as pd

    from data.splits import make_splits

    catalog = load_catalog()
    return make_splits(
        pd.concat(frames, ignore_index=True),
        frozen_datasets=frozenset(name for name, spec in catalog.items() if spec.official_splits),
        guest_datasets=frozenset(name for name, spec in catalog.items() if spec.feedback),
    )


def ensure_splits(layout: Layout) -> None:
    """Make the splits where there are none yet.

    Raises:
        DataError: A required dataset could not be fetched, or none is available.
    """
    if not (layout.splits / "texts.parquet").is_file():
        build_splits(layout, fetch_datasets(layout))


def rows_by_split(frame: "pd.DataFrame") -> dict[str, int]:
    """Return the number of rows by `dataset/split`."""
    rows = frame.groupby(["source", "split"]).size()
    return {f"{source}/{split}": int(n) for (source, split), n in rows.items()}  # type: ignore[misc]


def training_rows(rows: dict[str, int]) -> dict[str, int]:
    """Return from `Splits.rows` the rows that models are trained on, by dataset."""
    return {name: rows[f"{name}/train"] for name in training_datasets() if f"{name}/train" in rows}


def require_training_rows(layout: Layout) -> None:
    """Check that there are rows to train on before any candidate is trained.

    Raises:
        SourceUnavailable: The datasets that models are trained on hold no row of some label in `train` or `val`.
    """
    for split in ("train", "val"):
        labels = set(read_texts(layout, split, datasets=training_datasets())["label"])
        if missing := [label for label in LABELS if label not in labels]:
            rows = "no rows" if not labels else f"no {' or '.join(missing)} rows"
            raise _nothing_to_train_on(enabled_datasets(layout), f"the split {split!r} of the datasets for training has {rows}")


def _nothing_to_train_on(specs: list[DatasetSpec], found: str) -> SourceUnavailable:
    others = [one for one in load_catalog().values() if one.train and one not in specs and not one.feedback and not one.sample]
    candidates = [spec.name for spec in specs if not spec.train] or ["one"]
    remedy = f"Set `train: true` for {' or '.join(candidates)} in configs/datasets.yaml"
    return SourceUnavailable(
        "There is nothing to train on.",
        found=f"{found}; enabled: {', '.join(spec.name for spec in specs) or 'none'}",
        expected=f"datasets with `train: true` that hold {', '.join(LABELS)} rows in train and val",
        remedy=f"Enable {others[0].name} too (GROUNDSWELL_DATA__DATASETS), or s{remedy[1:]}." if others else f"{remedy}.",
    )


def read_splits(layout: Layout) -> Splits:
    """Return the report of `build_splits`."""
    try:
        return Splits(**read_json(layout.splits / "report.json"))
    except OSError as error:
        raise SourceUnavailable("There are no splits yet.", remedy="Run `groundswell data` first.") from error


def check_splits(layout: Layout) -> "ValidationReport":
    """Run the suite for split data."""
    from data.expectations import validate_splits

    return _kept_report(layout.splits, lambda: validate_splits(read_texts(layout)))


def read_texts(
    layout: Layout, split: str | None = None, *, datasets: list[str] | None = None, sarcasm: bool = False
) -> "pd.DataFrame":
    """Return rows with a sentiment label, of one split or all, of the named datasets or all.

    With `sarcasm`, rows that are labeled as sarcastic or not, too.
    """
    import pandas as pd

    frame = pd.read_parquet(layout.splits / "texts.parquet")
    keep = frame["label"].notna() | (frame["sarcasm"].notna() & sarcasm)
    if split:
        keep &= frame["split"] == split
    if datasets is not None:
        keep &= frame["source"].isin(datasets)
    return frame[keep].reset_index(drop=True)


def sarcasm_texts(layout: Layout, split: str) -> "pd.DataFrame":
    """Return the rows of a split that are labeled as sarcastic or not, with a sentiment label or without."""
    frame = read_texts(layout, split, sarcasm=True)
    return frame[frame["sarcasm"].notna()].reset_index(drop=True)


def rephrased_pairs(layout: Layout) -> "pd.DataFrame":
    """Return sarcastic texts that are in no split, and what their authors meant: `id, text, plain, domain`."""
    return _kept_rows(layout, PAIRS, ["id", "text", "plain", "domain"])


def _kept_rows(layout: Layout, file_name: str, columns: list[str]) -> "pd.DataFrame":
    """Return the rows of a file that the datasets keep next to their texts, with their `domain`."""
    import pandas as pd

    catalog, parts = load_catalog(), []
    for name in read_splits(layout).sources:
        if name in catalog and (file := layout.raw / name / file_name).is_file():
            parts.append(pd.read_parquet(file).assign(domain=catalog[name].domain))
    return pd.concat([part for part in parts if len(part)] or [pd.DataFrame(columns=columns)], ignore_index=True)


def scored_rows(layout: Layout) -> "pd.DataFrame":
    """Return the test rows with a score for one company: `id, text, marked, score`."""
    return _kept_rows(layout, SCORED, ["id", "split", "text", "marked", "score"]).query("split == 'test'").drop(columns="split")


def unlabeled_texts(layout: Layout) -> "pd.DataFrame":
    """Return every row of a training split, with a sentiment label or without: none of its texts is in another split."""
    import pandas as pd

    frame = pd.read_parquet(layout.splits / "texts.parquet")
    return frame[frame["split"] == "train"].reset_index(drop=True)


def primary_texts(layout: Layout, split: str) -> "pd.DataFrame":
    """Return the rows of the primary dataset, or of all datasets if it has none."""
    frame = read_texts(layout, split)
    primary = frame[frame["source"] == EvaluationSettings.load().primary]
    return (primary if len(primary) else frame).reset_index(drop=True)


def only_sample(layout: Layout) -> bool:
    """Return whether all rows come from the project's own sample, or from it and feedback."""
    specs = [load_catalog()[name.split("/")[0]] for name in read_splits(layout).rows]
    return all(spec.sample or spec.feedback for spec in specs)


def require_real_texts(layout: Layout) -> None:
    """Keep a model that was trained on the sample, under another profile, out of production.

    Raises:
        SourceUnavailable: The profile is `production`, and the splits hold nothing but the sample.
    """
    if profile_name() == "production" and only_sample(layout):
        raise SourceUnavailable(
            "The production profile does not promote a model trained on the sample.",
            found=f"{layout.splits} holds the project's own sample only",
            remedy="Run `groundswell train` under this profile.",
        )


def training_datasets() -> list[str]:
    """Return the names of the datasets models are trained on; the others are for evaluation only."""
    return [name for name, spec in load_catalog().items() if spec.train]
