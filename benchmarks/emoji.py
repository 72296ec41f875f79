"""What reading emoji is worth: MiniLM on TweetEval with the names of emoji as words, and with emoji left out.

    GROUNDSWELL_DATA__DIR=data-folder python -m benchmarks.emoji --out var/emoji-benchmark --rows 4000 --seeds 1 2 3

Each run (way, seed) writes the probabilities of the test rows to `<out>/<way>-<seed>.npy`, and is not repeated if that file
exists; the table is printed from the files that are there. `--way as-is` trains with the cleaning of the checkout.
"""

import argparse
import itertools
import os
import shutil
from pathlib import Path

import emoji
import numpy as np
import pandas as pd

from data.labels import LABEL_IDS
from data.settings_registry import check_settings
from evaluation.metrics import Estimate, paired_difference
from training.candidates import load_candidates
from training.finetune import finetune
from training.predictors import CheckpointPredictor
from training.settings import TrainingSettings

WAYS = ("names", "left-out", "as-is")


def main() -> None:
    """Train what is missing, then print the table."""
    check_settings()
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--way", nargs="+", choices=WAYS, default=["names", "left-out"])
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    rows = pd.read_csv(Path(os.environ["GROUNDSWELL_DATA__DIR"]) / "tweeteval_sentiment" / "data.csv.gz")
    for seed, way in itertools.product(chosen.seeds, chosen.way):
        if not (chosen.out / f"{way}-{seed}.npy").is_file():
            _run(rows, way, chosen, seed)
    _report(rows[rows["split"] == "test"], chosen)


def _run(rows: pd.DataFrame, way: str, chosen: argparse.Namespace, seed: int) -> None:
    if way == "left-out":
        rows = rows.assign(text=[emoji.replace_emoji(text, " ") for text in rows["text"]])
    train, val, test = (rows[rows["split"] == split] for split in ("train", "val", "test"))
    candidate = load_candidates()["minilm"]
    settings = TrainingSettings(max_train_rows=chosen.rows, max_val_rows=600, epochs=chosen.epochs, evaluations=2, seed=seed)
    folder = chosen.out / f"{way}-{seed}"
    finetune(candidate, train, val, folder, settings, progress=lambda message, _: print(way, seed, message, flush=True))
    proba = CheckpointPredictor(way, folder / "checkpoint", candidate.max_length).predict_proba(test["text"].tolist())
    np.save(chosen.out / f"{way}-{seed}.npy", proba)
    shutil.rmtree(folder)


def _report(test: pd.DataFrame, chosen: argparse.Namespace) -> None:
    labels = test["label"].map(LABEL_IDS).to_numpy()
    with_emoji = np.array([emoji.emoji_count(text) > 0 for text in test["text"]])
    for name, mask in (("all test rows", np.ones(len(test), dtype=bool)), ("rows with emoji", with_emoji)):
        proba = {
            way: [np.load(path)[mask] for seed in chosen.seeds if (path := chosen.out / f"{way}-{seed}.npy").is_file()]
            for way in WAYS
        }
        for way, runs in proba.items():
            if runs:
                values = [100 * _macro_recall(labels[mask], run) for run in runs]
                print(f"{name} ({mask.sum():,}), {way}: {np.mean(values):.2f} of {', '.join(f'{v:.2f}' for v in values)}")
        for way in ("left-out", "as-is"):
            pairs = list(zip(proba["names"], proba[way], strict=False))
            if pairs:
                print(f"{name}: names minus {way}, {len(pairs)} seeds: {_span(labels[mask], pairs)}")


def _span(labels: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Estimate:
    """Return the difference of macro-recall in points over the rows of all seeds, with its paired 95 % interval."""
    ours, theirs = (np.concatenate(runs) for runs in zip(*pairs, strict=True))
    return paired_difference(np.tile(labels, len(pairs)), ours, theirs, "macro_recall")


def _macro_recall(labels: np.ndarray, proba: np.ndarray) -> float:
    decided = proba.argmax(axis=1)
    return float(np.mean([(decided[labels == k] == k).mean() for k in range(3)]))


if __name__ == "__main__":
    main()
