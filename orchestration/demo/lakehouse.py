"""`make demo-lakehouse`: process a folder of raw tweets through all three layers, and show the views of Gold."""

import shutil
import time
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from data.errors import BundleError
from orchestration.layout import Layout
from orchestration.progress import TerminalProgress, note, report
from serving.bundle import Bundle, read_bundle, served_bundle, write_bundle

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from serving.lakehouse.run import Lakehouse

TWEETS = 5_000
TRAIN_ROWS = 1_500
"""Training rows if no model exists yet: one minute of training; the accuracy is some points below that of `make demo`."""
_HERE = "demo-lakehouse"


def run_demo(console: Console) -> None:
    """Write raw tweets, fill the layers, show them, the views and their plots."""
    from data.raw_tweets import write_raw_tweets
    from orchestration.local.spark import lakehouse
    from orchestration.terminal.lakehouse_plots import plot_views
    from orchestration.terminal.lakehouse_tables import collect_views, show_views
    from serving.lakehouse.paths import table
    from serving.lakehouse.run import local_source, run_once
    from serving.lakehouse.status import read_status

    started = time.monotonic()
    folder = Layout.load().var / _HERE
    for old in ("raw", "tables", "plots"):
        shutil.rmtree(folder / old, ignore_errors=True)
    console.rule("[bold]Groundswell: raw tweets to clean, classified tables", align="left")
    with TerminalProgress(console) as terminal:
        terminal.begin("Model")
        bundle = _model(folder, terminal)
        terminal.begin(f"{TWEETS:,} raw tweets with the faults that real dumps have")
        write_raw_tweets(folder / "raw", labeled_texts(TWEETS), count=TWEETS)
    with lakehouse(console, root=str(folder / "tables")) as opened:
        with TerminalProgress(console) as terminal:
            terminal.begin("Bronze, Silver, Gold")
            lake = replace(opened, bundle=lambda: bundle, on_batch=lambda stage, _: report(f"{stage} is filled"))
            run_once(lake, local_source(str(folder / "raw")))
        _show_layers(console, lake)
        views = collect_views(lake.spark.read.format("delta").load(table(lake.root, "gold")))
    show_views(console, views)
    plots = plot_views(views, folder / "plots")
    status = read_status(str(folder / "tables"))
    console.print(
        Panel(
            f"{status.rows('bronze'):,} records = {status.rows('silver'):,} messages "
            f"+ {status.rows('silver_rejected'):,} rejected; "
            f"all messages classified by {bundle.manifest.version}, in {time.monotonic() - started:.0f} s.\n\n"
            f"Plots    {plots[0].parent}\n"
            f"Tables   {status.root} (Delta; readable with Spark, DuckDB, pandas and Polars)\n\n"
            f"GROUNDSWELL_LAKEHOUSE__ROOT={status.root} groundswell lakehouse status\n"
            "groundswell lakehouse run --source <your folder, s3a:// URI, or kafka>",
            title="What next",
            border_style="green",
        ),
        soft_wrap=True,
    )


def labeled_texts(count: int) -> list[tuple[str, str]]:
    """Return `count` pairs (text, label) of the test split, real tweets if available; repeated when used up.

    Raises:
        SourceUnavailable: No labeled text is available.
    """
    from orchestration.steps.data import ensure_splits, primary_texts

    layout = Layout.load()
    ensure_splits(layout)
    frame = primary_texts(layout, "test").sample(frac=1, random_state=0)
    return list(islice(cycle(zip(frame["text"], frame["label"], strict=True)), count))


def _model(folder: Path, terminal: TerminalProgress) -> Bundle:
    """Return the served bundle, or train a small model and return its bundle."""
    try:
        return served_bundle()
    except BundleError:
        pass
    try:
        return read_bundle(folder / "bundle")
    except BundleError:
        note("No model is in production yet: training a small one. `make demo` trains and evaluates a better one.")
    from data.labels import LABELS
    from orchestration.steps.data import ensure_splits, primary_texts
    from training.candidates import load_candidates
    from training.finetune import finetune
    from training.onnx_export import export_fp32
    from training.settings import TrainingSettings

    layout, candidate = Layout.load(), load_candidates()["minilm"]
    ensure_splits(layout)
    settings = TrainingSettings.load(max_train_rows=TRAIN_ROWS, max_val_rows=200, epochs=1, evaluations=1)
    train, val = (primary_texts(layout, split) for split in ("train", "val"))
    finetune(candidate, train, val, folder / "candidate", settings, progress=terminal)
    checkpoint = folder / "candidate" / "checkpoint"
    report("exporting to ONNX")
    model = export_fp32(checkpoint, folder / "model.onnx")
    card = f"# Small demo model\n\nTrained on {TRAIN_ROWS:,} rows, {', '.join(LABELS)}; not evaluated, not for production.\n"
    bundle = write_bundle(
        folder / "bundle",
        model_file=model,
        tokenizer_file=checkpoint / "tokenizer.json",
        card=card,
        name="demo",
        max_length=candidate.max_length,
    )
    model.unlink()
    return bundle


def _show_layers(console: Console, lake: "Lakehouse") -> None:
    from serving.lakehouse.paths import table

    def read(layer) -> "DataFrame":
        return lake.spark.read.format("delta").load(table(lake.root, layer))

    bronze = read("bronze")
    raw = [row[0] for row in bronze.where("raw IS NOT NULL").select("raw").limit(2).collect()]
    rescued = bronze.where("rescued IS NOT NULL").select("rescued").limit(2).collect()
    broken = [bytes(row[0]).decode("utf-8", "backslashreplace") for row in rescued]
    _print(console, "Bronze: raw records", [("record", line) for line in raw] + [("rescued", line) for line in broken])
    silver = read("silver").select("created_at", "text", "mentions", "hashtags").where("size(hashtags) > 0").limit(3).collect()
    _print(
        console, "Silver: clean, deduplicated, in UTC", [(f"{row[0]:%H:%M:%S}", f"{row[1]}  {row[2]} {row[3]}") for row in silver]
    )
    rejected = read("silver_rejected").groupBy("reason").count().orderBy("count", ascending=False).collect()
    _print(console, "Rejected records by reason", [(f"{row[1]:,}", row[0]) for row in rejected])
    gold = read("gold").orderBy("confidence", ascending=False).select("label", "confidence", "text").limit(4).collect()
    _print(console, "Gold: classified", [(f"{row[0]} {row[1]:.2f}", row[2]) for row in gold])


def _print(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    table = Table("", "", box=None, show_header=False, title=title, title_justify="left", title_style="bold")
    table.columns[0].style, table.columns[0].no_wrap = "dim", True
    table.columns[0].min_width = max((len(left) for left, _ in rows), default=0)  # otherwise the texts shrink this column
    table.columns[1].no_wrap, table.columns[1].overflow = True, "ellipsis"
    for left, right in rows:
        table.add_row(escape(left), escape(right.replace("\n", " ")))
    console.print(table)
    console.print()
