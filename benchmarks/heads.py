"""What heads for domains are worth: one model with heads, one without, and one for each domain alone, on rows of all domains.

    GROUNDSWELL_DATA__RECIPE=domains groundswell data
    GROUNDSWELL_DATA__RECIPE=domains python -m benchmarks.heads --out var/heads-benchmark --rows 6000 --seed 1

Rows of the table are what a model learned from, columns the domains that it was evaluated on, so it shows how a domain transfers
to another one, too. All models see the same rows of a domain, at most `--rows`, for one epoch. Each run writes its probabilities
of the evaluated rows to `<out>/<way>-<seed>.npy`, and is not repeated if that file exists. Rows are those of the test split, and,
of a domain whose datasets have none, of the validation split, which chooses nothing here.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from data.domains import DOMAINS
from data.labels import LABEL_IDS, LABELS
from data.settings_registry import check_settings
from evaluation.metrics import paired_difference, score
from orchestration.layout import Layout
from orchestration.steps.data import read_texts, training_datasets
from training.candidates import load_candidates
from training.distill import TARGET
from training.finetune import choose_rows, class_weights, finetune
from training.predictors import CheckpointPredictor
from training.settings import TrainingSettings

HEADS, GENERALIST = "heads", "generalist"
EVALUATED = 3000
"""Most evaluated rows of a dataset."""


def main() -> None:
    """Train what is missing, then print the table."""
    check_settings()
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--candidate", default="minilm")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    layout = Layout.load()
    train = _capped(read_texts(layout, "train", datasets=training_datasets()), chosen.rows)
    val, test = read_texts(layout, "val", datasets=training_datasets()), read_texts(layout, "test")
    domains = [domain for domain in DOMAINS if (train["domain"] == domain).any()]
    evaluated = _evaluated(test, val, domains)
    print(", ".join(f"{domain} {rows:,}" for domain, rows in train["domain"].value_counts().items()), flush=True)
    for seed in chosen.seed:
        for way in (HEADS, GENERALIST, *domains):
            if not (chosen.out / f"{way}-{seed}.npy").is_file():
                _run(train, val, evaluated, way, seed, chosen)
        _report(evaluated, domains, seed, chosen)


def _capped(train: pd.DataFrame, rows: int) -> pd.DataFrame:
    return pd.concat([choose_rows(part, rows, 0) for _, part in train.groupby("domain", sort=True)], ignore_index=True)


def _evaluated(test: pd.DataFrame, val: pd.DataFrame, domains: list[str]) -> pd.DataFrame:
    """Return the evaluated rows: of each dataset its test rows, or where it has none, its validation rows."""
    untested = val[~val["source"].isin(test["source"].unique())]
    both = pd.concat([test, untested], ignore_index=True)
    both = both[both["domain"].isin(domains)]
    return pd.concat([choose_rows(part, EVALUATED, 0) for _, part in both.groupby("source", sort=True)], ignore_index=True)


def _run(
    train: pd.DataFrame, val: pd.DataFrame, evaluated: pd.DataFrame, way: str, seed: int, chosen: argparse.Namespace
) -> None:
    candidate, folder = load_candidates()[chosen.candidate], chosen.out / f"{way}-{seed}"
    settings = TrainingSettings(
        epochs=chosen.epochs, evaluations=1, max_val_rows=300, seed=seed, domain_heads=way == HEADS, max_train_rows=None
    )
    rows = train if way in (HEADS, GENERALIST) else _with_targets(train[train["domain"] == way].reset_index(drop=True))
    finetune(candidate, rows, val, folder, settings, progress=lambda message, _: print(way, seed, message, flush=True))
    predictor = CheckpointPredictor(way, folder / "checkpoint", candidate.max_length)
    proba = predictor.predict_proba(evaluated["text"].tolist(), domains=evaluated["domain"].tolist())
    np.save(chosen.out / f"{way}-{seed}.npy", proba)
    shutil.rmtree(folder)


def _with_targets(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the label as a target, weighted by its class: fine-tuning requires three labels, reviews have two."""
    ids = rows["label"].map(LABEL_IDS).to_numpy()
    weights = class_weights([(0, label) for label in ids], 1).numpy()[0]
    targets = np.eye(len(LABELS), dtype=np.float32)[ids] * weights[ids, None]
    return rows.assign(**{TARGET: list(targets)})


def _report(evaluated: pd.DataFrame, domains: list[str], seed: int, chosen: argparse.Namespace) -> None:
    proba = {way: np.load(chosen.out / f"{way}-{seed}.npy") for way in (HEADS, GENERALIST, *domains)}
    labels = evaluated["label"].map(LABEL_IDS).to_numpy()
    columns = [("domain", domain) for domain in domains] + [("source", name) for name in sorted(evaluated["source"].unique())]
    for column, name in columns:
        mask = (evaluated[column] == name).to_numpy()
        print(f"{column} {name} ({mask.sum():,} rows), macro-recall")
        for way, one in proba.items():
            found = score(labels[mask], one[mask])["macro_recall"]
            print(f"  {way:11} {found.text(1)}")
        own = name if column == "domain" else evaluated["domain"][mask].iloc[0]
        for way in (GENERALIST, own):
            print(f"  heads minus {way}: {paired_difference(labels[mask], proba[HEADS][mask], proba[way][mask]).text(2)}")


if __name__ == "__main__":
    main()
