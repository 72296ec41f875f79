"""Heads of a model: `general`, one for each domain that it learns from, and one for sarcasm.

The outputs of a model with D heads are named `domain/label` in its `config.json`, and computed together: a head costs three rows
of the last matrix. A text counts for the head of its domain and for `general`. A model that learns from texts that are labeled
as sarcastic or not has one more output, `sarcasm`, the last one.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from data.domains import DOMAINS, GENERAL
from data.labels import LABELS, columns_in_label_order
from training.settings import TrainingSettings

if TYPE_CHECKING:
    import pandas as pd

ONE_HEAD = (GENERAL,)
SARCASM = "sarcasm"
"""Name of the output for sarcasm, and of the column that labels it."""
SARCASM_ONLY = "sarcasm_only"
"""Column, where a dataset has such rows: whether a sarcastic row teaches nothing about sentiment."""
LEAST_ROWS = 500
"""Of a domain in the training split, for a head of its own. Measured with MiniLM on 6,000 rows of five domains: the head of a
domain with 206 rows was 9 points of macro-recall worse than `general`, those with 604 to 1,013 rows 0.3 to 3.5 points better."""


def heads_for(train: "pd.DataFrame", settings: TrainingSettings) -> tuple[str, ...]:
    """Return the heads of a model that is trained on these rows: `general` alone, unless two domains or more have enough rows.

    A domain whose rows all have the same label gets no head.

    Args:
        train: Rows with `domain`, and with `label`, or without any for a student.
        settings: Has the switch.
    """
    if not settings.domain_heads or "domain" not in train:
        return ONE_HEAD
    own: list[str] = []
    for domain in DOMAINS:
        labels = train["label"][train["domain"] == domain]
        if len(labels) >= LEAST_ROWS and labels.nunique(dropna=True) != 1:
            own.append(domain)
    return (GENERAL, *own) if len(own) > 1 else ONE_HEAD


def learns_sarcasm(train: "pd.DataFrame") -> bool:
    """Return whether a model that is trained on these rows has an output for sarcasm: `LEAST_ROWS` label it, and differ in it."""
    if SARCASM not in train:
        return False
    marked = train[SARCASM].dropna()
    return len(marked) >= LEAST_ROWS and marked.nunique() == 2


def output_names(heads: tuple[str, ...], *, sarcasm: bool = False) -> list[str]:
    """Return the names of the outputs of a model: the labels, or `domain/label` of each head; then `sarcasm`."""
    names = [label if heads == ONE_HEAD else f"{head}/{label}" for head in heads for label in LABELS]
    return [*names, SARCASM] if sarcasm else names


def heads_and_columns(model_name: str, id2label: Mapping[int, str]) -> tuple[tuple[str, ...], list[int]]:
    """Return the heads of a model, and its output columns in the order of the heads and `LABELS`, three for each head.

    Raises:
        ModelError: The outputs of a head are not the three labels.
    """
    by_head: dict[str, dict[int, str]] = {}
    for index, name in id2label.items():
        if name == SARCASM:
            continue
        head, slash, label = str(name).partition("/")
        by_head.setdefault(head if slash else GENERAL, {})[int(index)] = label if slash else str(name)
    columns = [column for labels in by_head.values() for column in columns_in_label_order(model_name, labels)]
    return tuple(by_head), columns


def sarcasm_column(id2label: Mapping[int, str]) -> int | None:
    """Return the output column for sarcasm; None: the model has none."""
    return next((int(index) for index, name in id2label.items() if name == SARCASM), None)


def head_ids(heads: tuple[str, ...], frame: "pd.DataFrame") -> list[int]:
    """Return the position of the head of each row, N numbers; 0, `general`, where the domain has none."""
    if heads == ONE_HEAD or "domain" not in frame:
        return [0] * len(frame)
    positions = {head: index for index, head in enumerate(heads)}
    return [positions.get(domain, 0) for domain in frame["domain"].tolist()]
