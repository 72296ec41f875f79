"""A dataset on the Hugging Face hub, at a pinned revision. Interrupted downloads resume from the hub library's own cache."""

from typing import Any

from data.catalog import DatasetSpec
from data.errors import SourceUnavailable
from data.sources.reading import FIX, Source, SourceRows
from data.tables import require_columns


def find(spec: DatasetSpec) -> Source:
    """Locate the dataset; fetches nothing.

    Raises:
        SourceUnavailable: The catalog has no repository or no revision for it.
    """
    if spec.hub is None:
        raise SourceUnavailable(
            f"{spec.name} is not fetched from the hub{f': {spec.no_hub}' if spec.no_hub else ''}.",
            remedy="Add it to the folder GROUNDSWELL_DATA__DIR, or set `hub` in configs/datasets.yaml.",
        )
    if spec.hub.revision is None:
        raise SourceUnavailable(
            f"{spec.name}: the revision of {spec.hub.id} is not pinned.",
            expected="40 hex digits",
            remedy=f"Set the commit you have reviewed as hub.revision of {spec.name} in configs/datasets.yaml.",
        )
    return Source("hub", f"{spec.hub.id}@{spec.hub.revision}", lambda: SourceRows(_read(spec)))


def _read(spec: DatasetSpec) -> Any:
    import pandas as pd

    # The library has no types.
    from datasets import (  # pyright: ignore[reportMissingTypeStubs]
        disable_progress_bars,
        load_dataset,  # pyright: ignore[reportUnknownVariableType]
    )
    from datasets.exceptions import DatasetNotFoundError  # pyright: ignore[reportMissingTypeStubs]

    hub = spec.hub
    assert hub is not None
    disable_progress_bars()  # the caller shows its own progress
    try:
        splits: Any = load_dataset(hub.id, hub.config, data_files=hub.files, revision=hub.revision)
    except DatasetNotFoundError as error:
        raise SourceUnavailable(
            f"{spec.name}: there is no {hub.id} at revision {hub.revision} on the hub.", found=_first_line(error)
        ) from error
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        raise SourceUnavailable(
            f"{spec.name}: {hub.id} could not be fetched.",
            found=f"{type(error).__name__}: {_first_line(error)}",
            remedy="Check the network and HF_ENDPOINT; the next attempt resumes the download.",
        ) from error
    parts: list[pd.DataFrame] = []
    for theirs, ours in hub.splits.items():
        if theirs not in splits:
            continue
        frame: pd.DataFrame = splits[theirs].to_pandas()
        require_columns(frame.columns, [hub.text, hub.label], f"{hub.id}/{theirs}", FIX)
        ids = [f"{spec.name}-{ours}-{index}" for index in range(len(frame))]
        label = frame[hub.label].astype("string")
        part = pd.DataFrame({"id": ids, "text": frame[hub.text], "label": label, "split": ours})
        if hub.max_rows is not None and len(part) > hub.max_rows:
            part = part.sample(hub.max_rows, random_state=0).sort_index()
        parts.append(part)
    if not parts:
        raise SourceUnavailable(
            f"{spec.name}: {hub.id} has none of the splits.", found=", ".join(splits), expected=", ".join(hub.splits)
        )
    return pd.concat(parts, ignore_index=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
