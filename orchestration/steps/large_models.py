"""Evaluate a large model on the test rows of the ranking. It is asked by name only, and its row stays until something changes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.artifacts import atomic_folder, digest, is_current, mark_current, read_json, write_json
from data.catalog import load_catalog
from data.errors import CandidateUnavailable
from evaluation.leaderboard import LargeModelFacts, LeaderboardRow, SampledClasses
from evaluation.metrics import score_classes
from evaluation.settings import EvaluationSettings
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import read_splits, read_texts, training_datasets
from orchestration.steps.predictions import REPORT, frozen_rows, label_ids, primary_mask
from training.candidates import Candidate, LargeModel, large_models
from training.llm_log import open_log
from training.llm_peer import Predictions, ask_peer, predictions, spent_usd
from training.llm_prompt import Prompt, few_shot, text_digest
from training.settings import LargeModelSettings

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = 1


@dataclass(frozen=True)
class EvaluatedLargeModel:
    """A large model's row and what it predicted."""

    row: LeaderboardRow
    predicted: SampledClasses
    spent_usd: float | None
    """Cost of all its requests so far; None without prices."""


def evaluate_large_model(layout: Layout, candidate: Candidate) -> EvaluatedLargeModel:
    """Ask a large model for every sampled test row that it has not predicted yet, and evaluate it.

    Raises:
        CandidateUnavailable: Predictions are missing, and there is no key or no address to ask for them.
        ModelError: The endpoint refused or failed, or the budget is reached; the replies are kept.
    """
    peer = _model(candidate)
    settings = layout.settings(EvaluationSettings)
    test = frozen_rows(layout, "test")
    main = test[primary_mask(layout, test)]
    chosen = np.sort(np.random.default_rng(settings.seed).permutation(len(main))[: peer.rows])
    texts = main["text"].iloc[chosen].tolist()
    prompt = Prompt() if peer.prompt == "zero-shot" else few_shot(_examples(layout))
    with open_log(layout.large_models, peer, prompt) as log:
        if not all(log.is_done(text_digest(text)) for text in texts):
            key = _key_of_endpoint(layout, candidate)
            ask_peer(peer, prompt, texts, log, key, progress=lambda what, share: report(f"{candidate.name}: {what}", share))
        found, spent = predictions(peer, log, texts), spent_usd(peer, log)
    row = _row(candidate, found, label_ids(main)[chosen], len(main), settings)
    with atomic_folder(layout.evaluations / candidate.name) as folder:
        predicted = {"rows": chosen.tolist(), "classes": found.predicted.tolist()}
        spent_or_none = spent if peer.usd_per_token else None
        write_json(folder / REPORT, {**row.to_dict(), "predicted": predicted, "spent_usd": spent_or_none})
        mark_current(folder, _key(layout, candidate))
    return _read(layout.evaluations / candidate.name)


def evaluated_large_models(layout: Layout) -> list[EvaluatedLargeModel]:
    """Return the large models that were evaluated on the present rows with the present entry. Asks nothing."""
    current = [one for one in large_models() if is_current(layout.evaluations / one.name, _key(layout, one))]
    return [_read(layout.evaluations / one.name) for one in current]


def _row(
    candidate: Candidate, found: Predictions, labels: np.ndarray, of_rows: int, settings: EvaluationSettings
) -> LeaderboardRow:
    peer = _model(candidate)
    metrics = score_classes(labels, found.predicted, resamples=settings.bootstrap_resamples, seed=settings.seed)
    facts = LargeModelFacts(
        model=peer.model,
        prompt=peer.prompt,
        of_rows=of_rows,
        without_label=found.without_label,
        usd_per_million=found.usd_per_million,
        latency_p50_ms=found.latency_p50_ms,
        latency_p95_ms=found.latency_p95_ms,
        concurrency=peer.concurrency,
    )
    return LeaderboardRow(candidate.name, len(labels), metrics, large_model=facts)


def _read(folder: Path) -> EvaluatedLargeModel:
    stored = read_json(folder / REPORT)
    predicted = SampledClasses(*(np.array(stored["predicted"][name], dtype=np.int64) for name in ("rows", "classes")))
    return EvaluatedLargeModel(LeaderboardRow.from_dict(stored), predicted, stored["spent_usd"])


def _key(layout: Layout, candidate: Candidate) -> dict[str, Any]:
    """Return what the row depends on. Examples of a few-shot prompt depend on the data and the datasets for training."""
    return {
        "format": _FORMAT,
        "model": _model(candidate).model_dump(mode="json", exclude={"budget_usd", "retries", "timeout_s"}),
        "prompt": Prompt().digest,
        "data": read_splits(layout).fingerprint,
        "sets": training_datasets(),
        "settings": layout.settings(EvaluationSettings).model_dump(mode="json"),
    }


def _examples(layout: Layout) -> "pd.DataFrame":
    """Return the training rows that examples are chosen from: those of the dataset that ranks, where it is for training.

    Corrections of API callers are left out: their texts are sent to no other service.
    """
    catalog = load_catalog()
    train = read_texts(layout, "train", datasets=[name for name in training_datasets() if not catalog[name].feedback])
    return train[primary_mask(layout, train)]


def _key_of_endpoint(layout: Layout, candidate: Candidate) -> str:
    """Return the API key.

    Raises:
        CandidateUnavailable: There is none, or the candidate has no address.
    """
    if _model(candidate).base_url is None:
        raise CandidateUnavailable(
            f"{candidate.name} has no base_url in configs/candidates.yaml; set it to that of an OpenAI-compatible endpoint"
        )
    key = layout.settings(LargeModelSettings).api_key
    if key is None or not key.get_secret_value():
        raise CandidateUnavailable(
            f"{candidate.name} has no API key; set GROUNDSWELL_LLM__API_KEY to one of {_model(candidate).base_url}"
        )
    return key.get_secret_value()


def _model(candidate: Candidate) -> LargeModel:
    assert candidate.llm is not None, "large_model() and large_models() return no others"
    return candidate.llm


def rows_key(evaluated: list[EvaluatedLargeModel]) -> dict[str, str]:
    """Return a digest of each row, which changes whenever the leaderboard would show it differently."""
    return {one.row.candidate: digest([one.row.to_dict(), one.predicted.classes.tolist()]) for one in evaluated}
