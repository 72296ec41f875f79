"""Measure the domain-transfer matrix: train a model for each domain and two of all, and evaluate each on every domain."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.artifacts import atomic_file, atomic_folder, digest, is_current, mark_current, read_json, write_json, write_text
from data.domains import DOMAINS
from data.errors import DataError, SourceUnavailable
from data.labels import LABEL_IDS, LABELS
from evaluation.settings import TransferSettings
from evaluation.slices import label_ids
from evaluation.transfer import GENERALIST, HEADS, Transfer, as_markdown, transfer_matrix
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import read_splits, read_texts, training_datasets
from orchestration.steps.predictions import predict
from training.candidates import Candidate, trainable
from training.settings import TrainingSettings

if TYPE_CHECKING:
    import pandas as pd

FILE = "transfer.json"


def measure_transfer(layout: Layout) -> Transfer:
    """Measure the matrix, or return the stored one while data, settings and candidate are unchanged.

    A killed run resumes: models that were evaluated are not trained again.

    Raises:
        SourceUnavailable: The datasets for training are all of one domain.
        SettingsError: There is no such candidate.
    """
    settings = layout.settings(TransferSettings)
    candidate = trainable(settings.candidate)
    key = {
        "settings": settings.model_dump(mode="json"),
        "candidate": candidate.model_dump(mode="json"),
        "data": read_splits(layout).fingerprint,
        "sets": training_datasets(),
    }
    if not is_current(layout.transfer, key):
        work = layout.var / f".transfer-{digest(key)[:16]}"
        _measure(layout, candidate, settings, work)
        mark_current(layout.transfer, key)
        shutil.rmtree(work)  # only now: until the matrix is marked, a killed run resumes from it
    return read_transfer(layout)


def read_transfer(layout: Layout) -> Transfer:
    """Return the stored matrix.

    Raises:
        SourceUnavailable: There is none.
    """
    try:
        return Transfer.from_dict(read_json(layout.transfer / FILE))
    except OSError as error:
        raise SourceUnavailable("No domain transfer has been measured.", remedy="Run `groundswell transfer`.") from error


def _measure(layout: Layout, candidate: Candidate, settings: TransferSettings, work: Path) -> None:
    from evaluation.plots import plot_transfer

    train = learned_rows(layout, settings)
    domains = [domain for domain in DOMAINS if (train["domain"] == domain).any()]
    if len(domains) < 2:
        raise SourceUnavailable(
            "The datasets for training are all of one domain: there is nothing to transfer to.",
            found=", ".join(domains) or "no rows",
            remedy="Set GROUNDSWELL_DATA__RECIPE=domains, then run `groundswell data`.",
        )
    for old in layout.var.glob(".transfer-*"):
        if old != work:
            shutil.rmtree(old)
    evaluated, val = evaluated_rows(layout, domains, settings), read_texts(layout, "val", datasets=training_datasets())
    probas = {way: _proba(way, train, val, evaluated, candidate, settings, work) for way in (*domains, GENERALIST, HEADS)}
    cells, gains = transfer_matrix(evaluated["domain"].tolist(), label_ids(evaluated), probas)
    rows = {domain: int((train["domain"] == domain).sum()) for domain in domains}
    transfer = Transfer(candidate.title, settings.epochs, settings.seed, rows, cells, gains)
    with atomic_folder(layout.transfer) as folder:
        write_json(folder / FILE, transfer.to_dict())
        write_text(folder / "transfer.md", as_markdown(transfer))
        plot_transfer(transfer, folder / "transfer.png")


def learned_rows(layout: Layout, settings: TransferSettings) -> "pd.DataFrame":
    """Return the training rows of all domains, at most `settings.rows` of each."""
    import pandas as pd

    from training.finetune import choose_rows

    train = read_texts(layout, "train", datasets=training_datasets())
    parts = [choose_rows(part, settings.rows, settings.seed) for _, part in train.groupby("domain", sort=True)]
    return pd.concat(parts, ignore_index=True) if parts else train


def evaluated_rows(layout: Layout, domains: list[str], settings: TransferSettings) -> "pd.DataFrame":
    """Return the test rows of each dataset, or where it has none, its validation rows, which choose nothing here."""
    import pandas as pd

    from training.finetune import choose_rows

    test, val = read_texts(layout, "test"), read_texts(layout, "val", datasets=training_datasets())
    both = pd.concat([test, val[~val["source"].isin(test["source"].unique())]], ignore_index=True)
    both = both[both["domain"].isin(domains)]
    parts = [choose_rows(part, settings.evaluated_rows, settings.seed) for _, part in both.groupby("source", sort=True)]
    return pd.concat(parts, ignore_index=True)


def _proba(
    way: str,
    train: "pd.DataFrame",
    val: "pd.DataFrame",
    evaluated: "pd.DataFrame",
    candidate: Candidate,
    settings: TransferSettings,
    work: Path,
) -> np.ndarray:
    """Return the probabilities of the evaluated rows by a model, trained now unless an interrupted run did."""
    from training.finetune import finetune
    from training.predictors import CheckpointPredictor

    stored = work / f"{way}.npy"
    if stored.is_file():
        return np.load(stored)
    work.mkdir(parents=True, exist_ok=True)
    of_all = way in (HEADS, GENERALIST)
    rows = train if of_all else _with_targets(train[train["domain"] == way].reset_index(drop=True))
    given: dict[str, Any] = {"epochs": settings.epochs, "seed": settings.seed, "domain_heads": way == HEADS}
    trained = TrainingSettings(**given, evaluations=1, max_val_rows=300, max_train_rows=None)
    finetune(candidate, rows, val, work / way, trained, progress=lambda message, done: report(f"{way}: {message}", done))
    predictor = CheckpointPredictor(way, work / way / "checkpoint", candidate.max_length)
    proba = predict(predictor, evaluated, f"{way}: evaluated rows")
    with atomic_file(stored, DataError) as temporary, temporary.open("wb") as out:
        np.save(out, proba)
    shutil.rmtree(work / way)
    return proba


def _with_targets(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return rows with the label as a target, weighted by its class: fine-tuning on labels requires all three of them."""
    from training.distill import TARGET
    from training.finetune import class_weights

    ids = [LABEL_IDS[label] for label in rows["label"]]
    weights = class_weights([(0, label, -1) for label in ids], 1).numpy()[0]
    targets = np.eye(len(LABELS), dtype=np.float32)[ids] * weights[ids][:, np.newaxis]
    return rows.assign(**{TARGET: list(targets)})
