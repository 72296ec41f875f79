"""`make bench`: CPU and wall time of Groundswell compared with named peers, all measured in one run.

Each comparison runs both sides in every round, one after the other, so that a busy machine slows both. The ratio is computed per
round; the table shows its median with the lowest and the highest. CPU time is shown next to wall time because a noisy machine
changes it least. The numbers are also written to `var/bench/bench.json`.
"""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness.arguments import run
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.rounds import in_turns
from data.artifacts import read_json, write_json
from data.errors import GroundswellError
from data.settings import project_root
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress, terminal_console
from orchestration.steps.data import primary_texts
from training.candidates import load_candidates

if TYPE_CHECKING:
    import pandas as pd

ROUNDS = 3
TRAIN_ROWS, PLAIN_ROWS = 1024, 256
"""The plain Trainer gets fewer rows because it is much slower. Both results are rates, so they stay comparable."""


@dataclass(frozen=True)
class Cost:
    """The time one side took in one round."""

    wall_s: float
    cpu_s: float
    units: int
    """Texts, rows or calls."""

    def per_unit_us(self) -> tuple[float, float]:
        """Return wall and CPU microseconds per unit."""
        return 1e6 * self.wall_s / self.units, 1e6 * self.cpu_s / self.units


@dataclass(frozen=True)
class Comparison:
    """Groundswell compared with a peer, over all rounds."""

    what: str
    peer: str
    goal: float
    ours: list[Cost]
    theirs: list[Cost]

    def ratios(self, which: int) -> tuple[float, float, float]:
        """Return median, lowest and highest of peer / ours, for wall (0) or CPU (1) time."""
        by_round = [t.per_unit_us()[which] / o.per_unit_us()[which] for o, t in zip(self.ours, self.theirs, strict=True)]
        return statistics.median(by_round), min(by_round), max(by_round)


def timed(work: Callable[[], Any], units: int) -> Cost:
    """Run `work` and return the wall and CPU time of this process and of the children it waited for."""
    before, started = _cpu(), time.perf_counter()
    work()
    return Cost(time.perf_counter() - started, _cpu() - before, units)


def _cpu() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def bulk_classify(layout: Layout, progress: Callable[[str, float | None], None]) -> list[Comparison]:
    """Compare the classifier on the test split with bare ONNX Runtime loops over the same session and tokenizer."""
    from data.cleaning import clean
    from data.tokenization import encode, pad, pad_id
    from orchestration.steps.export import current_bundle
    from serving.bundle import MODEL
    from serving.classifier import Classifier
    from serving.engines.onnxruntime_engine import OnnxRuntimeEngine
    from serving.threads import cpu_quota

    bundle = current_bundle(layout)
    engine = OnnxRuntimeEngine(bundle.directory / MODEL, cpu_quota())
    classifier = Classifier(bundle, engine=engine)
    texts = primary_texts(layout, "test")["text"].tolist()
    session, tokenizer = engine.session, classifier._tokenizer  # the peers run the same model

    def loop(*, by_length: bool) -> None:
        rows = encode(tokenizer, [clean(text) for text in texts])
        if by_length:
            rows.sort(key=len)
        for start in range(0, len(rows), 32):
            ids, mask = pad(rows[start : start + 32], pad_id(tokenizer))
            session.run(["logits"], {"input_ids": ids, "attention_mask": mask})

    costs = in_turns(
        {
            "the classifier": lambda _: timed(lambda: classifier.classify(texts), len(texts)),
            "sorted by length": lambda _: timed(lambda: loop(by_length=True), len(texts)),
            "arrival order": lambda _: timed(lambda: loop(by_length=False), len(texts)),
        },
        ROUNDS,
        progress,
    )
    ours = costs["the classifier"]
    what = f"bulk classify, {len(texts):,} texts, {classifier.bundle.manifest.quantization}"
    return [
        Comparison(what, "bare ONNX Runtime loop, sorted by length, batches of 32", 0.95, ours, costs["sorted by length"]),
        Comparison(what, "bare ONNX Runtime loop, arrival order, batches of 32", 1.4, ours, costs["arrival order"]),
    ]


def export_variants(layout: Layout, progress: Callable[[str, float | None], None]) -> list[Comparison]:
    """Compare every variant of the export with torch in float32, on the same padded batches."""
    import onnxruntime as ort
    import torch
    from transformers import AutoModelForSequenceClassification

    from data.cleaning import clean
    from data.tokenization import encode, load_tokenizer, pad, pad_id
    from orchestration.steps.export import read_export_report
    from orchestration.steps.training import candidate_folder
    from serving.threads import cpu_quota

    report = read_export_report(layout)
    candidate = load_candidates()[report.candidate]
    checkpoint = candidate_folder(layout, candidate) / "checkpoint"
    tokenizer = load_tokenizer(checkpoint / "tokenizer.json", max_length=candidate.max_length)
    texts = primary_texts(layout, "val")["text"].tolist()[:512]
    rows = sorted(encode(tokenizer, [clean(text) for text in texts]), key=len)
    batches = [pad(rows[start : start + 32], pad_id(tokenizer)) for start in range(0, len(rows), 32)]
    torch.set_num_threads(cpu_quota())
    model = AutoModelForSequenceClassification.from_pretrained(str(checkpoint)).eval()

    def on_torch() -> None:
        with torch.inference_mode():
            for ids, mask in batches:
                model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))

    def on_ort(variant: str) -> Callable[[], None]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = cpu_quota()
        session = ort.InferenceSession(str(layout.export / variant / "model.onnx"), options, providers=["CPUExecutionProvider"])

        def run() -> None:
            for ids, mask in batches:
                session.run(["logits"], {"input_ids": ids, "attention_mask": mask})

        return run

    variants = [row.name for row in report.rows if row.name != "torch"]
    runs = {"torch": on_torch, **{variant: on_ort(variant) for variant in variants}}
    for variant in runs.values():
        variant()  # the first run allocates memory
    costs = in_turns(
        {name: lambda _, variant=variant: timed(variant, len(rows)) for name, variant in runs.items()}, ROUNDS, progress
    )
    fastest = min((v for v in variants if v.startswith("int8")), key=lambda v: statistics.median(c.cpu_s for c in costs[v]))
    goals = {fastest: 3.0, report.chosen: 3.0 if report.chosen == fastest else 2.0}
    marks = {report.chosen: ", served"}
    return [
        Comparison(
            f"export variant {variant}{marks.get(variant, '')}",
            "torch float32, the same batches",
            goals.get(variant, 0.0),
            costs[variant],
            costs["torch"],
        )
        for variant in variants
    ]


def fine_tuning(layout: Layout, progress: Callable[[str, float | None], None]) -> list[Comparison]:
    """Compare the rows per second of our Trainer with those of a plain one (every row padded to 128, float32)."""
    from training.checkpoints import base_model
    from training.finetune import choose_rows, make_trainer
    from training.precision import bf16_is_faster
    from training.settings import TrainingSettings

    candidate = load_candidates()["minilm"].model_copy(update={"epochs": 1})
    settings = TrainingSettings.load(evaluations=1)
    train, val = primary_texts(layout, "train"), primary_texts(layout, "val")
    work = layout.var / "bench" / "trainer"

    def ours(_: int) -> Cost:
        model, tokenizer_file = base_model(candidate)
        bf16 = bf16_is_faster(model, layout.candidates)
        rows = choose_rows(train, TRAIN_ROWS, 0)
        trainer = make_trainer(model, tokenizer_file, candidate, rows, val.head(32), work, settings, bf16=bf16)
        trainer.args.eval_strategy = trainer.args.save_strategy = "no"
        trainer.args.load_best_model_at_end = False
        trainer.callback_handler.callbacks = [
            c for c in trainer.callback_handler.callbacks if "EarlyStop" not in type(c).__name__
        ]
        return timed(trainer.train, len(rows))

    def plain(_: int) -> Cost:
        rows = choose_rows(train, PLAIN_ROWS, 0)
        trainer = _plain_trainer(base_model(candidate), candidate.learning_rate, rows, work)
        return timed(trainer.train, len(rows))

    costs = in_turns({"ours": ours, "plain": plain}, ROUNDS, progress)
    return [Comparison("fine-tuning MiniLM, a row", "plain Trainer, padded to 128, float32", 4.0, costs["ours"], costs["plain"])]


def _plain_trainer(base: tuple[Any, Path], learning_rate: float, rows: "pd.DataFrame", work: Path) -> Any:
    import torch
    from transformers import PrinterCallback, Trainer, TrainingArguments

    from data.tokenization import load_tokenizer
    from training.finetune import tokenized_rows

    model, tokenizer_file = base
    data = tokenized_rows(load_tokenizer(tokenizer_file, max_length=128), rows)

    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
        ids, mask = np.zeros((len(batch), 128), dtype=np.int64), np.zeros((len(batch), 128), dtype=np.int64)
        for index, row in enumerate(batch):
            ids[index, : len(row["input_ids"])], mask[index, : len(row["input_ids"])] = row["input_ids"], 1
        labels = torch.tensor([row["labels"][1] for row in batch])
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask), "labels": labels}

    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=1,
        per_device_train_batch_size=32,
        learning_rate=learning_rate,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=collate)  # type: ignore[arg-type]
    trainer.remove_callback(PrinterCallback)
    return trainer


def suites(layout: Layout) -> Cost:
    """Time both suites over at most 60,000 rows of the splits, without the import of Great Expectations."""
    import great_expectations  # noqa: F401  imported here so that its import is not timed

    from data.catalog import load_catalog
    from data.expectations import validate_raw, validate_splits
    from orchestration.steps.data import read_texts

    frame = read_texts(layout)
    frame = frame.sample(min(60_000, len(frame)), random_state=0).reset_index(drop=True)
    spec = next(iter(load_catalog().values())).model_copy(update={"rows": {}})

    def both() -> None:
        validate_raw(frame.assign(id=frame["source"] + frame["id"]), spec)
        validate_splits(frame)

    return timed(both, len(frame))


def cold_help() -> Cost:
    """Time `groundswell --help` in five new processes."""
    command = [sys.executable, "-m", "orchestration.cli", "--help"]

    def calls() -> None:
        for _ in range(5):
            subprocess.run(command, cwd=project_root(), check=True, capture_output=True)

    return timed(calls, 5)


def main() -> None:
    """Run all comparisons, print the table and write `bench.json`."""
    from rich.table import Table

    layout, console = Layout.load(), terminal_console()
    if not (layout.export_report).is_file():
        raise GroundswellError("No exported model to measure.", remedy="Run make demo or make train, then make bench.")
    comparisons: list[Comparison] = []
    with TerminalProgress(console) as terminal:
        for title, measure in (
            ("Bulk classify", bulk_classify),
            ("Export variants", export_variants),
            ("Fine-tuning", fine_tuning),
        ):
            terminal.begin(title)
            comparisons += measure(layout, terminal)
        terminal.begin("Validation suites and --help")
        limits = [("both suites", suites(layout), 5.0), ("cold --help, one call", cold_help(), 0.5)]
    table = Table("ours", "peer", "CPU µs ours", "CPU µs peer", "ratio, CPU", "ratio, wall", "goal", box=None, header_style="dim")
    for one in comparisons:
        (cpu, *cpu_range), (wall, *wall_range) = one.ratios(1), one.ratios(0)
        table.add_row(
            one.what,
            one.peer,
            f"{statistics.median(c.per_unit_us()[1] for c in one.ours):,.0f}",
            f"{statistics.median(c.per_unit_us()[1] for c in one.theirs):,.0f}",
            f"{cpu:.2f} [{cpu_range[0]:.2f}, {cpu_range[1]:.2f}]",
            f"{wall:.2f} [{wall_range[0]:.2f}, {wall_range[1]:.2f}]",
            f"≥ {one.goal:g}" if one.goal else "",
        )
    console.print(table)
    for what, cost, limit in limits:
        calls = 1 if what == "both suites" else cost.units
        console.print(
            f"{what} ({cost.units:,}): {cost.wall_s / calls:.2f} s wall, {cost.cpu_s / calls:.2f} s CPU (goal ≤ {limit:g} s)"
        )
    report = {
        "machine": describe_machine(),
        "export_variants": read_json(layout.export_report)["rows"],
        "comparisons": [asdict(one) | {"cpu": one.ratios(1), "wall": one.ratios(0)} for one in comparisons],
        "limits": [{"what": what, **asdict(cost), "goal_s": limit} for what, cost, limit in limits],
    }
    write_json(layout.var / "bench" / "bench.json", report)


if __name__ == "__main__":
    run(main)
