"""What a small adapter for each domain adds to heads: MiniLM with both, on the rows of the domain-transfer matrix.

    GROUNDSWELL_DATA__RECIPE=domains python -m benchmarks.adapters --out var/adapters --rows 2000 --seeds 1 2

Needs `groundswell data` first. An adapter is a bottleneck with a residual (Houlsby et al. 2019), here after the encoder: the head
of a domain reads h + up(gelu(down(h))) instead of h. Each run (way, seed) writes the probabilities of the evaluated rows to
`<out>/<way>-<seed>.npy`, and is not repeated if that file exists; the table is printed from the files that are there.
"""

import argparse
import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from data.labels import LABELS
from data.settings_registry import check_settings
from data.tokenization import load_tokenizer
from evaluation.metrics import macro_recall, paired_difference
from evaluation.settings import TransferSettings
from evaluation.slices import label_ids
from orchestration.layout import Layout
from orchestration.steps.data import read_texts, training_datasets
from orchestration.steps.transfer import evaluated_rows, learned_rows
from training.candidates import trainable
from training.checkpoints import base_model
from training.finetune import choose_rows, make_trainer, tokenized_rows
from training.heads import head_ids, heads_for
from training.seeding import seed_everything
from training.settings import TrainingSettings

HEADS, ADAPTERS = "heads", "adapters"


class AdaptedHeads(torch.nn.Module):
    """A last matrix of which the rows of each head read the hidden state through the adapter of that head."""

    def __init__(self, matrix: torch.nn.Linear, heads: int, width: int) -> None:
        super().__init__()
        size = matrix.in_features
        self.matrix = matrix
        self.down = torch.nn.ModuleList(torch.nn.Linear(size, width) for _ in range(heads))
        self.up = torch.nn.ModuleList(_silent(torch.nn.Linear(width, size)) for _ in range(heads))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits of all heads, (N, 3 x heads)."""
        logits = []
        for head, (down, up) in enumerate(zip(self.down, self.up, strict=True)):
            rows = slice(len(LABELS) * head, len(LABELS) * (head + 1))
            adapted = hidden + up(torch.nn.functional.gelu(down(hidden)))
            logits.append(torch.nn.functional.linear(adapted, self.matrix.weight[rows], self.matrix.bias[rows]))
        return torch.cat(logits, dim=-1)


def _silent(layer: torch.nn.Linear) -> torch.nn.Linear:
    """Return the layer with zeros: at first, an adapter changes nothing."""
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    return layer


def main() -> None:
    """Train what is missing, then print the table."""
    check_settings()
    made = argparse.ArgumentParser()
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--rows", type=int, default=2000, help="at most, of each domain")
    made.add_argument("--evaluated", type=int, default=1000, help="at most, of each dataset")
    made.add_argument("--epochs", type=int, default=1)
    made.add_argument("--width", type=int, default=32, help="of an adapter")
    made.add_argument("--seeds", type=int, nargs="+", default=[1])
    chosen = made.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    layout = Layout.load()
    settings = TransferSettings(rows=chosen.rows, evaluated_rows=chosen.evaluated)
    train = learned_rows(layout, settings)
    evaluated = evaluated_rows(layout, sorted(train["domain"].unique()), settings)
    val = choose_rows(read_texts(layout, "val", datasets=training_datasets()), 300, settings.seed)
    for seed, way in itertools.product(chosen.seeds, (HEADS, ADAPTERS)):
        if not (chosen.out / f"{way}-{seed}.npy").is_file():
            np.save(chosen.out / f"{way}-{seed}.npy", _proba(way, seed, train, val, evaluated, chosen))
    _report(evaluated, chosen)


def _proba(
    way: str, seed: int, train: pd.DataFrame, val: pd.DataFrame, evaluated: pd.DataFrame, chosen: argparse.Namespace
) -> np.ndarray:
    candidate = trainable("minilm")
    settings = TrainingSettings(epochs=chosen.epochs, evaluations=1, seed=seed, bf16=False)
    seed_everything(seed)
    heads = heads_for(train, settings)
    model, tokenizer_file = base_model(candidate, heads)
    if way == ADAPTERS:
        model.classifier = AdaptedHeads(model.classifier, len(heads), chosen.width)
    work = chosen.out / f"{way}-{seed}"
    made: Any = make_trainer(
        model,
        tokenizer_file,
        candidate,
        train,
        val,
        work,
        settings,
        bf16=False,
        heads=heads,
        progress=lambda message, _: print(way, seed, message, flush=True),
    )
    made.train()
    rows = tokenized_rows(load_tokenizer(tokenizer_file, max_length=candidate.max_length), evaluated, heads)
    logits = torch.from_numpy(made.predict(rows).predictions).reshape(len(rows), len(heads), len(LABELS))
    shutil.rmtree(work)
    return logits.softmax(dim=-1).numpy()[np.arange(len(rows)), head_ids(heads, evaluated)]


def _report(evaluated: pd.DataFrame, chosen: argparse.Namespace) -> None:
    labels = label_ids(evaluated)
    for domain in sorted(evaluated["domain"].unique()):
        mask = (evaluated["domain"] == domain).to_numpy()
        runs = {way: [np.load(chosen.out / f"{way}-{seed}.npy")[mask] for seed in chosen.seeds] for way in (HEADS, ADAPTERS)}
        means = {way: 100 * np.mean([macro_recall(labels[mask], proba) for proba in probas]) for way, probas in runs.items()}
        ours, theirs = (np.concatenate(runs[way]) for way in (ADAPTERS, HEADS))
        gain = paired_difference(np.tile(labels[mask], len(chosen.seeds)), ours, theirs, "macro_recall")
        print(
            f"{domain} ({mask.sum():,} rows): heads {means[HEADS]:.1f}, with adapters {means[ADAPTERS]:.1f}, "
            f"adapters minus heads {gain.text(1)}"
        )


if __name__ == "__main__":
    main()
