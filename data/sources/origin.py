"""Where labeled texts come from: the settings; else the hub, if it is reachable; else the project's own small sample."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Thread

from data.catalog import DatasetSpec, select_datasets
from data.errors import SourceUnavailable
from data.feedback import open_feedback
from data.settings import DataSettings, PathSettings, profile_name

PROBE_S = 3.0
"""Seconds to wait for a response of the hub before the sample is used."""
_OFFLINE = ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True)
class Origin:
    """Which datasets are enabled, and why."""

    sets: tuple[str, ...]
    """Names in the catalog; feedback is added once there is some."""
    text: str
    """One line for display: which texts are used and why."""
    is_sample: bool = False


def configured(catalog: dict[str, DatasetSpec], settings: DataSettings) -> Origin | None:
    """Return the origin if the settings determine it; None if it depends on whether the hub is reachable.

    Raises:
        SourceUnavailable: The data folder does not exist, a name is unknown, or the profile is `production` and only the sample
            is available.
    """
    if settings.dir is not None and not settings.dir.is_dir():
        raise SourceUnavailable(f"There is no data folder {settings.dir}.", remedy="Correct GROUNDSWELL_DATA__DIR.")
    real = [name for name, spec in catalog.items() if spec.sample is None and not spec.feedback]
    own = [name for name in real if catalog[name].file is not None]
    origin = None
    if settings.datasets is not None:
        named = [spec.name for spec in select_datasets(catalog, settings.datasets)]
        origin = _origin(named, f"the datasets in GROUNDSWELL_DATA__DATASETS: {', '.join(named)}.")
    elif settings.origin == "hub":
        folder = f"{settings.dir}, and for datasets that it lacks " if settings.dir else ""
        origin = _origin(real, f"{folder}the Hugging Face hub, at pinned revisions.")
    elif settings.dir is not None:
        origin = _origin(real, f"the data folder {settings.dir}.")
    elif own:
        origin = _origin(own, f"your own files: {', '.join(own)}.")
    if profile_name() == "production" and (origin is None or any(catalog[name].sample for name in origin.sets)):
        raise SourceUnavailable(
            "The production profile does not train on the sample.",
            found="GROUNDSWELL_DATA__ORIGIN=local and no data folder" if origin is None else origin.text,
            expected="labeled texts from the hub, from a data folder or from files of your own",
            remedy="Leave GROUNDSWELL_DATA__ORIGIN at hub, set GROUNDSWELL_DATA__DIR, or add a file to configs/datasets.yaml.",
        )
    return origin


def from_hub(spec: DatasetSpec) -> Origin:
    """Return the origin for the one dataset that is fetched when no data folder is set."""
    where = spec.hub.id if spec.hub else "nowhere"
    return _origin([spec.name], f"{spec.name} from the Hugging Face hub ({where}), since no data folder is set.")


def from_sample(catalog: dict[str, DatasetSpec], why: str) -> Origin:
    """Return the origin for the sample; `why` completes "no data folder is set and ..."."""
    text = (
        f"Texts: the project's own small sample, since no data folder is set and {why}. "
        "Its metrics are meaningless; for real texts set GROUNDSWELL_DATA__DIR or connect to the hub."
    )
    return Origin(tuple(name for name, spec in catalog.items() if spec.sample), text, is_sample=True)


def _origin(sets: Iterable[str], text: str) -> Origin:
    return Origin(tuple(sets), f"Texts: {text}")


def enabled(catalog: dict[str, DatasetSpec], origin: Origin) -> list[DatasetSpec]:
    """Return the datasets of an origin in the order of the catalog, and feedback once there is some."""
    feedback = open_feedback(PathSettings.load().var).path.is_file()
    return [spec for name, spec in catalog.items() if name in origin.sets or (spec.feedback and feedback)]


def offline_variable() -> str | None:
    """Return the environment variable that forbids requests to the hub, if one is set."""
    return next((name for name in _OFFLINE if os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}), None)


def hub_refusal(spec: DatasetSpec, timeout_s: float = PROBE_S) -> str | None:
    """Return why a dataset at its pinned revision cannot be fetched from the hub, or None if it can.

    Blocks for at most `timeout_s`, whether name resolution, connection or response hangs.
    """
    if spec.hub is None or spec.hub.revision is None:
        return f"{spec.name} has no pinned revision on the hub"
    if name := offline_variable():
        return f"{name} is set"
    try:
        from huggingface_hub import HfApi
    except ImportError:
        return "the package huggingface-hub is not installed"
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    outcomes: list[Exception | None] = []

    def request() -> None:
        try:
            api.dataset_info(spec.hub.id, revision=spec.hub.revision, timeout=timeout_s)  # type: ignore[union-attr]
            outcomes.append(None)
        except Exception as error:  # a network fails in many ways
            outcomes.append(error)

    thread = Thread(target=request, name="hub-request", daemon=True)
    thread.start()
    thread.join(timeout_s)
    slow = f"{api.endpoint} did not respond within {timeout_s:g} s"
    if not outcomes:
        return slow
    error = outcomes[0]
    if error is not None and "Timeout" in type(error).__name__:  # the client's own time-out, a moment before ours
        return slow
    return None if error is None else f"{api.endpoint} cannot be used ({_short(error)})"


def _short(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"HTTP status {status}" if status else type(error).__name__
