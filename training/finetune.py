"""Fine-tune one transformer candidate to a checkpoint. After a crash at any point, the same call resumes the run."""

import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.artifacts import atomic_folder, digest, read_json, write_json
from data.cleaning import clean
from data.errors import TrainingFailed
from data.labels import LABEL_IDS, LABELS
from data.tokenization import encode, load_tokenizer, pad_id
from training.balance import balance_heads
from training.candidates import Candidate
from training.checkpoints import base_model, save_checkpoint
from training.distill import TARGET
from training.heads import LEAST_ROWS, ONE_HEAD, SARCASM, SARCASM_ONLY, head_ids, heads_for, learns_sarcasm
from training.precision import bf16_is_faster
from training.seeding import seed_everything
from training.settings import TrainingSettings
from training.weak_labels import label_plain_rows

if TYPE_CHECKING:
    import pandas as pd

ENOUGH_ROWS = LEAST_ROWS + 100
"""Rows of a domain in a sample: what rounding by dataset and label takes away leaves enough for a head."""
Progress = Callable[[str, float | None], None]
RecordRun = Callable[["pd.DataFrame", "pd.DataFrame"], AbstractContextManager[None]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedCandidate:
    """The result of a training run; `directory` has `checkpoint/` and `report.json`."""

    name: str
    directory: Path
    from_scratch: bool
    rows: int
    """Rows it was trained on."""
    epochs: float
    seconds: float
    best_macro_recall: float
    bf16: bool
    seed: int | None = None
    trained_at: str | None = None
    """When training ended, ISO 8601 in UTC."""
    datasets: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """Per dataset: `rows` used for training, of `rows_available` in the training split."""
    heads: tuple[str, ...] = ONE_HEAD
    """`general`, and the domains that have a head of their own."""
    sarcasm: bool = False
    """Whether it has an output for sarcasm."""
    balance: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """By head: what was added to the logits of `LABELS` after training, see `training.balance`."""
    history: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    """Entries of `step, epoch` with `loss, learning_rate` or `eval_loss, eval_macro_recall`."""


def finetune(
    candidate: Candidate,
    train: "pd.DataFrame",
    val: "pd.DataFrame",
    out_dir: Path,
    settings: TrainingSettings,
    *,
    progress: Progress | None = None,
    recorded: RecordRun | None = None,
) -> TrainedCandidate:
    """Fine-tune a candidate; an `as_is` one is only fetched, checked for its labels, and saved.

    Checkpoints of the run are stored next to `out_dir`, under a digest of everything the run depends on, so that only the
    same run resumes from them. `out_dir` is replaced only when the run is finished.

    Args:
        candidate: What to train.
        train: Rows with `text` and `label`, or, of a student, with `text` and `target` (training/distill.py); at most
            `settings.max_train_rows` of them are used. Rows with `sarcasm` need no label.
        val: Rows whose macro-recall selects the best checkpoint of the run.
        out_dir: Folder for `checkpoint/` (Hugging Face layout, `tokenizer.json`) and `report.json`.
        settings: How to train.
        progress: Called with a message and the fraction done.
        recorded: Called with the rows used; returns a context that is open while the model is trained, and only then.

    Raises:
        CandidateUnavailable: The base model cannot be loaded.
        TrainingFailed: There are no rows, or a class is missing.
    """
    started = time.monotonic()
    if candidate.kind == "as_is":
        return _keep_as_is(candidate, out_dir, started)
    available = train if TARGET in train else _learnable(train)
    train = choose_rows(available, settings.max_train_rows, settings.seed)
    all_val = labeled(val, "val")
    val = choose_rows(all_val, settings.max_val_rows, settings.seed)
    seed_everything(settings.seed)
    heads = heads_for(train if TARGET in train else train[train["label"].notna()], settings)
    sarcasm = learns_sarcasm(train)
    model, tokenizer_file = base_model(candidate, heads, sarcasm=sarcasm)
    work = out_dir.parent / f".{out_dir.name}-{_run_digest(candidate, train, val, settings, heads)}"
    _remove_other_runs(out_dir, keep=work)
    bf16 = bf16_is_faster(model, out_dir.parent) if settings.bf16 is None else settings.bf16
    trainer = make_trainer(
        model, tokenizer_file, candidate, train, val, work, settings, bf16=bf16, heads=heads, progress=progress
    )
    if resume := _last_complete_checkpoint(work):
        _log.info("%s resumes from %s", candidate.name, resume.name)
    with recorded(train, val) if recorded else nullcontext():
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    balance = _balance(trainer, tokenizer_file, candidate, choose_rows(all_val, 4 * settings.max_val_rows, settings.seed), heads)
    state = trainer.state
    result = TrainedCandidate(
        name=candidate.name,
        directory=out_dir,
        from_scratch=candidate.from_scratch,
        rows=len(train),
        epochs=float(state.epoch or 0),
        seconds=round(time.monotonic() - started, 1),
        best_macro_recall=float(state.best_metric or 0.0),
        bf16=bf16,
        seed=settings.seed,
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        datasets=rows_by_dataset(train, available),
        heads=heads,
        sarcasm=sarcasm,
        balance=balance,
        history=[{k: v for k, v in row.items() if isinstance(v, int | float)} for row in state.log_history],
    )
    write_trained(out_dir, result, lambda folder: save_checkpoint(trainer.model, tokenizer_file, folder))
    shutil.rmtree(work, ignore_errors=True)
    return result


def make_trainer(
    model: Any,
    tokenizer_file: Path,
    candidate: Candidate,
    train: "pd.DataFrame",
    val: "pd.DataFrame",
    work: Path,
    settings: TrainingSettings,
    *,
    bf16: bool,
    heads: tuple[str, ...] = ONE_HEAD,
    progress: Progress | None = None,
) -> Any:
    """Build the Trainer that `finetune` runs and that the benchmark times."""
    import torch
    from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainingArguments

    from training.batching import Collator, LengthGroupedSampler
    from training.callbacks import ProgressCallback

    tokenizer = load_tokenizer(tokenizer_file, max_length=candidate.max_length)
    train_rows, val_rows = (tokenized_rows(tokenizer, frame, heads) for frame in (train, val))
    balanced = settings.class_weights and TARGET not in train
    weights = class_weights([row["labels"] for row in train_rows], len(heads)) if balanced else None
    devices = max(torch.cuda.device_count(), 1)
    epochs = settings.epochs or candidate.epochs
    steps = epochs * -(-len(train_rows) // (candidate.batch_size * devices))
    every = max(1, steps // settings.evaluations)

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        return loss_of_heads(outputs["logits"].float(), labels, len(heads), weights)

    class GroupedTrainer(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            lengths = [len(row["input_ids"]) for row in train_rows]
            return LengthGroupedSampler(lengths, candidate.batch_size * devices, settings.seed)

    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=epochs,
        per_device_train_batch_size=candidate.batch_size,
        per_device_eval_batch_size=64,
        learning_rate=candidate.learning_rate,
        warmup_steps=int(candidate.warmup_ratio * steps),
        weight_decay=candidate.weight_decay,
        max_grad_norm=1.0,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        seed=settings.seed,
        data_seed=settings.seed,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="macro_recall",
        greater_is_better=True,
        logging_strategy="steps",
        logging_steps=max(1, steps // 50),
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=[],
        dataloader_pin_memory=False,
        label_names=["labels"],
        remove_unused_columns=False,
    )
    trainer = GroupedTrainer(
        model=model,
        args=arguments,
        train_dataset=train_rows,  # type: ignore[arg-type]  # a list is a map-style dataset
        eval_dataset=sorted(val_rows, key=lambda row: len(row["input_ids"])),  # type: ignore[arg-type]
        data_collator=Collator(pad_id(tokenizer)),
        compute_loss_func=loss,
        compute_metrics=_macro_recall,
        callbacks=[ProgressCallback(progress), EarlyStoppingCallback(early_stopping_patience=settings.patience)],
    )
    # Progress is reported by ProgressCallback.
    trainer.remove_callback(PrinterCallback)  # pyright: ignore[reportUnknownMemberType]
    return trainer


def _balance(
    trainer: Any, tokenizer_file: Path, candidate: Candidate, val: "pd.DataFrame", heads: tuple[str, ...]
) -> dict[str, list[float]]:
    """Balance the classes of each head on validation rows; returns what was added, by head."""
    rows = tokenized_rows(load_tokenizer(tokenizer_file, max_length=candidate.max_length), val, heads)
    rows.sort(key=lambda row: len(row["input_ids"]))
    logits = trainer.predict(rows).predictions
    labels = [row["labels"] for row in rows]
    added = balance_heads(trainer.model, logits, [row[0] for row in labels], [row[1] for row in labels], len(heads))
    return {head: [round(float(value), 4) for value in values] for head, values in zip(heads, added, strict=True)}


def tokenized_rows(tokenizer: Any, frame: "pd.DataFrame", heads: tuple[str, ...] = ONE_HEAD) -> list[dict[str, Any]]:
    """Convert rows to the input of the Trainer: cleaned and tokenized as in serving.

    `labels` is `[head, label, sarcasm]`, or of a student `[negative, neutral, positive, head, sarcasm]`; -1 where a row has none.
    """
    ids = encode(tokenizer, [clean(text) for text in frame["text"]])
    positions, marks = head_ids(heads, frame), _marks(frame)
    if TARGET in frame:
        labels = [[*row, head, mark] for row, head, mark in zip(frame[TARGET], positions, marks, strict=True)]
    else:
        known = [LABEL_IDS.get(label, -1) for label in frame["label"]]
        labels = [list(row) for row in zip(positions, known, marks, strict=True)]
    return [{"input_ids": row, "labels": label} for row, label in zip(ids, labels, strict=True)]


def _marks(frame: "pd.DataFrame") -> list[int]:
    """Return 1 for each sarcastic row, 2 if it teaches nothing about sentiment, 0 for one that is not, -1 without a label."""
    if SARCASM not in frame:
        return [-1] * len(frame)
    marks = frame[SARCASM].astype("boolean").astype("Int8").fillna(-1).astype(int)
    return marks.mask(frame[SARCASM_ONLY] & (marks == 1), 2).tolist() if SARCASM_ONLY in frame else marks.tolist()


def class_weights(rows: Sequence[Sequence[int]], heads: int) -> Any:
    """Return the weight of each class by head, float32 (heads, 3), so that the classes of a head count alike.

    Without sarcastic rows that is the inverse frequency, 1 where the classes are of equal size. Such a row, without a label,
    counts against positive, as half a negative and half a neutral row would; those then weigh less. All rows count for head 0.
    A class without rows in a head weighs 0.

    Args:
        rows: Head, label and sarcasm of each row, as in `tokenized_rows`.
        heads: Their number.
    """
    import torch

    head_of, label_of, sarcasm = np.array(rows).T
    weights = np.zeros((heads, len(LABELS)))
    for head in range(heads):
        mine = (head_of == head) | (head == 0)
        own = label_of[mine & (label_of >= 0)]
        counts = np.bincount(own, minlength=len(LABELS))
        present = counts > 0
        sarcastic = int((mine & (label_of < 0) & (sarcasm == 1)).sum())
        against = np.array([sarcastic / 2, sarcastic / 2, 0])
        share = (len(own) + sarcastic) / max(present.sum(), 1)
        weights[head, present] = np.maximum(share - against, share / 4)[present] / counts[present]
    return torch.tensor(weights, dtype=torch.float32)


def loss_of_heads(logits: Any, labels: Any, heads: int, weights: Any = None) -> Any:
    """Return the loss of a batch; each row counts alike for each output that it labels.

    For sentiment, the mean cross-entropy of `general` over all rows with a label and, with several heads, of the head of each
    row. For sarcasm, the binary cross-entropy; a sarcastic row without a label also teaches its heads that it is not positive,
    -log(1 - p(positive)), unless its mark is 2.

    Args:
        logits: float32 (N, 3 x heads), or (N, 3 x heads + 1) with sarcasm.
        labels: As `tokenized_rows` makes them: int64 (N, 3), or float32 (N, 5).
        heads: Their number.
        weights: Of classes by head, as `class_weights` returns them; None: all alike.
    """
    import torch

    by_head = logits[:, : len(LABELS) * heads].reshape(len(logits), heads, len(LABELS))
    soft = labels.shape[1] > 3
    target, head = (labels[:, :3], labels[:, 3].long()) if soft else (labels[:, 1], labels[:, 0])
    known = torch.ones(len(labels), dtype=torch.bool, device=labels.device) if soft else target >= 0
    loss = logits.new_zeros(())
    if known.any():
        loss = loss + known.float().mean() * _sentiment_loss(by_head[known], target[known], head[known], weights)
    if logits.shape[1] == len(LABELS) * heads:
        return loss
    mark = labels[:, -1].float()
    marked = mark >= 0
    found = torch.nn.functional.binary_cross_entropy_with_logits(logits[marked, -1], mark[marked].clamp(max=1), reduction="sum")
    sarcastic = (mark == 1) & ~known
    rows = torch.arange(len(head), device=head.device)
    positive = torch.stack([by_head[:, 0], by_head[rows, head]])[:, sarcastic].log_softmax(dim=-1)[..., LABEL_IDS["positive"]]
    not_positive = -torch.log1p(-positive.exp().clamp(max=1 - 1e-6)).mean(dim=0)
    return loss + (found + not_positive.sum()) / len(labels)


def _sentiment_loss(by_head: Any, target: Any, head: Any, weights: Any) -> Any:
    """Return the loss of rows with a label: of `general`, and with several heads the mean of that and that of their own head."""
    import torch

    weight = None if weights is None else weights.to(by_head.device)
    general = torch.nn.functional.cross_entropy(by_head[:, 0], target, weight=None if weight is None else weight[0])
    if by_head.shape[1] == 1:
        return general
    rows = torch.arange(len(head), device=head.device)
    own = torch.nn.functional.cross_entropy(by_head[rows, head], target, reduction="none")
    share = torch.ones_like(own) if weight is None else weight[head, target]
    return (general + (own * share).sum() / share.sum()) / 2


def choose_rows(frame: "pd.DataFrame", limit: int | None, seed: int) -> "pd.DataFrame":
    """Return about `limit` rows: a seeded sample that keeps the share of each dataset and label within a domain.

    Domains keep their shares too, but for those that would get less than `ENOUGH_ROWS` with a label: they get that many, as far
    as they have them and half of an equal share allows, so that a small sample too has a head for each domain.
    """
    import pandas as pd

    if limit is None or len(frame) <= limit:
        return frame
    groups = ["source", "label"] if "source" in frame else ["label"]
    kinds = frame["domain"].where(frame["label"].notna(), "") if "domain" in frame else pd.Series("", frame.index)
    shares = _shares({str(kind): int(rows) for kind, rows in kinds.value_counts().items()}, limit)
    parts = [
        part.groupby(groups, sort=True, dropna=False).sample(frac=shares[str(kind)], random_state=seed)
        for kind, part in frame.groupby(kinds, sort=True)
    ]
    return pd.concat(parts).sort_index()


def _shares(sizes: dict[str, int], limit: int) -> dict[str, float]:
    """Return the share of the rows of each domain that a sample takes; `""` are rows without a label."""
    domains = sum(1 for kind in sizes if kind)
    least = min(ENOUGH_ROWS, limit // (2 * max(domains, 1)))
    raised: dict[str, int] = {}
    while True:
        free = limit - sum(raised.values())
        share = free / sum(size for kind, size in sizes.items() if kind not in raised)
        rest = {kind: min(least, size) for kind, size in sizes.items() if kind and kind not in raised}
        low = {kind: rows for kind, rows in rest.items() if share * sizes[kind] < rows}
        if not low:
            return {kind: raised[kind] / size if kind in raised else share for kind, size in sizes.items()}
        raised |= low


def rows_by_dataset(used: "pd.DataFrame", available: "pd.DataFrame") -> dict[str, dict[str, int]]:
    """Return `rows` used of `rows_available` by dataset; empty where rows do not name theirs."""
    if "source" not in available:
        return {}
    counts = used["source"].value_counts()
    return {
        str(name): {"rows": int(counts.get(name, 0)), "rows_available": int(rows)}
        for name, rows in available["source"].value_counts().sort_index().items()
    }


def _learnable(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows with a label, and, where there are enough for an output, those that label sarcasm, some with a weak label.

    Raises:
        TrainingFailed: No row has a label, or a class is missing.
    """
    rows = labeled(frame, "train")
    return label_plain_rows(frame[frame["label"].notna() | frame[SARCASM].notna()]) if learns_sarcasm(frame) else rows


def labeled(frame: "pd.DataFrame", split: str) -> "pd.DataFrame":
    """Return the rows with a label.

    Raises:
        TrainingFailed: There are none, or a class is missing.
    """
    frame = frame[frame["label"].notna()]
    if frame.empty:
        raise TrainingFailed(
            f"There are no labeled rows in the split {split!r}.",
            remedy="Enable a dataset with train: true, or fix its splits.",
        )
    labels = sorted(frame["label"].unique())
    if len(labels) < len(LABELS):
        raise TrainingFailed(
            f"The split {split!r} does not hold all three classes.",
            found=", ".join(labels),
            expected=", ".join(LABELS),
            remedy="Fix label_mapping of the dataset in configs/datasets.yaml, or add a dataset that has the missing class.",
        )
    return frame


def _macro_recall(prediction: Any) -> dict[str, float]:
    """Return the mean of the macro-recall of the heads, each on the rows of its domain."""
    logits = prediction.predictions
    heads, labels, _ = prediction.label_ids.T
    outputs = logits[:, : logits.shape[1] // len(LABELS) * len(LABELS)]  # without sarcasm
    predicted = outputs.reshape(len(logits), -1, len(LABELS))[np.arange(len(heads)), heads].argmax(axis=1)
    by_head = [
        np.mean([(predicted[(heads == head) & (labels == k)] == k).mean() for k in np.unique(labels[heads == head])])
        for head in np.unique(heads)
    ]
    return {"macro_recall": float(np.mean(by_head))}


def _run_digest(
    candidate: Candidate, train: "pd.DataFrame", val: "pd.DataFrame", settings: TrainingSettings, heads: tuple[str, ...]
) -> str:
    rows = [digest([frame["text"].tolist(), frame["label"].tolist()]) for frame in (train, val)]
    if TARGET in train:
        rows.append(hashlib.sha256(np.stack(train[TARGET].tolist()).tobytes()).hexdigest())
    if heads != ONE_HEAD:
        rows.append(digest([list(heads), *[head_ids(heads, frame) for frame in (train, val)]]))
    if learns_sarcasm(train):
        rows.append(digest(_marks(train)))
    return digest([candidate.model_dump(mode="json"), settings.of_the_run(), rows])[:16]


def _remove_other_runs(out_dir: Path, *, keep: Path) -> None:
    for old in out_dir.parent.glob(f".{out_dir.name}-*"):
        if old != keep:
            shutil.rmtree(old, ignore_errors=True)


def _last_complete_checkpoint(work: Path) -> Path | None:
    """Return the newest complete checkpoint; the Trainer writes `trainer_state.json` last."""
    for folder in sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            read_json(folder / "trainer_state.json")
            return folder
        except (OSError, ValueError):
            shutil.rmtree(folder)
    return None


def _keep_as_is(candidate: Candidate, out_dir: Path, started: float) -> TrainedCandidate:
    model, tokenizer_file = base_model(candidate)
    result = TrainedCandidate(candidate.name, out_dir, False, 0, 0.0, round(time.monotonic() - started, 1), 0.0, False)
    write_trained(out_dir, result, lambda folder: save_checkpoint(model, tokenizer_file, folder))
    return result


def write_trained(out_dir: Path, result: TrainedCandidate, save: Callable[[Path], object]) -> None:
    """Write a trained candidate, all or nothing: `save` writes to the folder it gets, which becomes `checkpoint/`."""
    with atomic_folder(out_dir) as folder:
        (folder / "checkpoint").mkdir()
        save(folder / "checkpoint")
        write_json(folder / "report.json", {k: v for k, v in asdict(result).items() if k != "directory"})
