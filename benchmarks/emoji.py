"""What reading emoji is worth: MiniLM with the names of emoji as words, with emoji as added tokens, and without emoji.

    GROUNDSWELL_DATA__DIR=data-folder python -m benchmarks.emoji --out var/emoji-benchmark --rows 20000 --seeds 1 2 3

Trained on TweetEval, whose training split holds no emoji, and on airline, of whose training rows 284 do. Evaluated on the test
rows of both. Each run (way, seed) writes the probabilities of the test rows to `<out>/<way>-<seed>.npy`, and is not repeated
if that file exists; the table is printed from the files that are there.
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
from training.candidates import Candidate, load_candidates
from training.checkpoints import base_model
from training.finetune import finetune
from training.predictors import CheckpointPredictor
from training.settings import TrainingSettings

WAYS = ("names", "tokens", "left-out")
DATASETS = {"TweetEval": "tweeteval_sentiment/data.csv.gz", "airline": "airline/data.csv"}


def main() -> None:
    """Train what is missing, then print the table."""
    check_settings()
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--way", nargs="+", choices=WAYS, default=WAYS)
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    data = Path(os.environ["GROUNDSWELL_DATA__DIR"])
    rows = pd.concat([pd.read_csv(data / path).assign(source=name) for name, path in DATASETS.items()], ignore_index=True)
    for seed, way in itertools.product(chosen.seeds, chosen.way):
        if not (chosen.out / f"{way}-{seed}.npy").is_file():
            _run(rows, way, chosen, seed)
    _report(rows[rows["split"] == "test"], chosen)


def _run(rows: pd.DataFrame, way: str, chosen: argparse.Namespace, seed: int) -> None:
    candidate = load_candidates()["minilm"]
    folder = chosen.out / f"{way}-{seed}"
    if way == "left-out":
        rows = rows.assign(text=[emoji.replace_emoji(text, " ") for text in rows["text"]])
    if way == "tokens":
        words = _words(rows["text"])
        rows = rows.assign(text=[emoji.replace_emoji(text, lambda sign, _: f" {words[sign]} ") for text in rows["text"]])
        candidate = _with_tokens(candidate, list(words.values()), chosen.out / "base-with-tokens")
    train, val, test = (rows[rows["split"] == split] for split in ("train", "val", "test"))
    settings = TrainingSettings(max_train_rows=chosen.rows, max_val_rows=1000, epochs=chosen.epochs, evaluations=2, seed=seed)
    finetune(candidate, train, val, folder, settings, progress=lambda message, _: print(way, seed, message, flush=True))
    proba = CheckpointPredictor(way, folder / "checkpoint", candidate.max_length).predict_proba(test["text"].tolist())
    np.save(chosen.out / f"{way}-{seed}.npy", proba)
    shutil.rmtree(folder)


def _words(texts: pd.Series) -> dict[str, str]:
    """Return a word of letters for each emoji in the texts, one that cleaning keeps and no vocabulary has."""
    signs = sorted({found["emoji"] for text in texts for found in emoji.emoji_list(text)})
    letters = "abcdefghij"
    # The v between two letters: cleaning shortens a letter that is repeated.
    return {sign: "qz" + "".join(f"{letters[int(digit)]}v" for digit in f"{index:04}") for index, sign in enumerate(signs)}


def _with_tokens(candidate: Candidate, words: list[str], folder: Path) -> Candidate:
    """Return the candidate on a base model that has a token for each word, with new weights for it."""
    from transformers import AutoTokenizer

    model, tokenizer_file = base_model(candidate)
    tokenizer = AutoTokenizer.from_pretrained(str(tokenizer_file.parent))
    tokenizer.add_tokens(words)
    model.resize_token_embeddings(len(tokenizer))  # the new rows are drawn around the mean of the others
    folder.mkdir(exist_ok=True)
    tokenizer.save_pretrained(str(folder))
    model.save_pretrained(str(folder))
    return candidate.model_copy(update={"local": str(folder)})


def _report(test: pd.DataFrame, chosen: argparse.Namespace) -> None:
    with_emoji = np.array([emoji.emoji_count(text) > 0 for text in test["text"]])
    for name in DATASETS:
        mine = (test["source"] == name).to_numpy()
        for title, mask in ((f"{name}, all test rows", mine), (f"{name}, test rows with emoji", mine & with_emoji)):
            _table(title, test["label"].map(LABEL_IDS).to_numpy()[mask], mask, chosen)


def _table(title: str, labels: np.ndarray, mask: np.ndarray, chosen: argparse.Namespace) -> None:
    files = {(way, seed): chosen.out / f"{way}-{seed}.npy" for way in WAYS for seed in chosen.seeds}
    proba = {run: np.load(path)[mask] for run, path in files.items() if path.is_file()}
    print(f"{title} ({len(labels):,})")
    for way in WAYS:
        values = [100 * _macro_recall(labels, one) for (found, _), one in proba.items() if found == way]
        if values:
            print(f"  {way}: macro-recall {np.mean(values):.2f} of {', '.join(f'{value:.2f}' for value in values)}")
    for way in WAYS[1:]:
        pairs = [(proba["names", seed], one) for (found, seed), one in proba.items() if found == way and ("names", seed) in proba]
        if pairs:
            print(f"  names minus {way}, {len(pairs)} seeds: {_difference(labels, pairs).text(2)}")


def _difference(labels: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Estimate:
    """Return the difference of macro-recall over the rows of all seeds, with its paired 95 % interval."""
    ours, theirs = (np.concatenate(runs) for runs in zip(*pairs, strict=True))
    return paired_difference(np.tile(labels, len(pairs)), ours, theirs, "macro_recall")


def _macro_recall(labels: np.ndarray, proba: np.ndarray) -> float:
    decided = proba.argmax(axis=1)
    return float(np.mean([(decided[labels == k] == k).mean() for k in range(3)]))


if __name__ == "__main__":
    main()
