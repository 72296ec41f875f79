"""Rows a second from Silver to Gold, beside bulk classify, MLflow's function and a transformers function."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestration.bench_api.figures import Goal, ratios
from orchestration.bench_lakehouse.bench import Bench, Outcome, write_silver_rows
from orchestration.bench_lakehouse.child import Child, Spent
from orchestration.bench_lakehouse.contestants import PIPELINE_BATCH
from orchestration.bench_stream.report import figure
from serving.threads import cpu_quota

OURS, STAND_IN, BULK = "Groundswell", "Groundswell, a judge that costs nothing", "bulk classify, no Spark"
MLFLOW, PIPELINE = "mlflow.pyfunc.spark_udf, this bundle", "transformers in a pandas UDF"
FLAVOUR = "mlflow.pyfunc.spark_udf, mlflow.transformers"
SHOWN = (BULK, OURS, STAND_IN, MLFLOW, FLAVOUR, PIPELINE)
OF_BULK, TIMES_MLFLOW, TIMES_PIPELINE = 0.8, 3.0, 5.0
COLUMNS = ["", "rows/s a core", "CPU s per 1,000 rows", "in Java", "in Python", "wall s", "first batch s", "bulk's label"]
WARM_ROWS = 1_000
"""At most so many rows before anything counts."""
FEW_ROWS = 64
RECORDS = (256, 2_048, 10_000)
"""Rows an Arrow batch that are tried with MLflow's function; 10,000 is Spark's own setting, 2,048 that of our session."""


@dataclass(frozen=True)
class Source:
    """Rows that all sides judge."""

    count: int
    parquet: Path
    silver: str
    """A Delta table of the same rows."""


@dataclass(frozen=True)
class Setting:
    """How MLflow's function is run."""

    tasks: int
    records: int
    """In an Arrow batch: `spark.sql.execution.arrow.maxRecordsPerBatch`."""

    def __str__(self) -> str:
        return f"{self.tasks} side by side, {self.records:,} rows an Arrow batch"


def measure(bench: Bench) -> Outcome:
    """Every side from the same Silver table of new texts, in turns; before that each judges another one twice."""
    with ExitStack() as stack:
        contest = Contest(bench, bench.children(stack, _kinds(bench)))
        rounds = [contest.source(f"round-{k}", bench.rows) for k in range(bench.rounds)]
        contest.few = contest.source("few", min(bench.rows, FEW_ROWS))
        first = {} if bench.quick else contest.warm(contest.source("warm", min(bench.rows, WARM_ROWS)))
        trials = {} if bench.quick else contest.try_settings(rounds[0])
        spent = bench.in_turns({name: lambda k, name=name: contest.turn(name, rounds[k], f"round-{k}") for name in contest.sides})
        return _outcome(bench, contest, spent, first, trials, rounds)


def _kinds(bench: Bench) -> dict[str, dict[str, Any]]:
    bundle, checkpoint = str(bench.bundle.directory.resolve()), str(bench.checkpoint.resolve())
    return {"bulk": {"bundle": bundle}, "judges": {"root": f"{bench.home}/judges", "bundle": bundle, "checkpoint": checkpoint}}


@dataclass
class Contest:
    """The sides: each takes rows and a name for a new Gold table."""

    bench: Bench
    children: dict[str, Child]
    few: Source | None = None
    setting: Setting = field(default_factory=lambda: Setting(cpu_quota(), RECORDS[-1]))

    @property
    def sides(self) -> dict[str, Callable[[Source, str], Spent]]:
        """The first of them pays for what all need of Spark when nothing is warm."""
        return {
            STAND_IN: self.stand_in,
            OURS: self.ours,
            BULK: self.bulk,
            MLFLOW: self.mlflow,
            FLAVOUR: self.flavor,
            PIPELINE: self.pipeline,
        }

    def source(self, name: str, count: int) -> Source:
        """So many new texts in Silver."""
        self.bench.tell(f"filling Silver: {name}", None)
        root = f"{self.bench.home}/{name}"
        parquet = write_silver_rows(Path(f"{root}.parquet"), self.bench.texts.take(count))
        self._empty(root)
        self.children["judges"].ask("fill", root=root, parquet=str(parquet))
        return Source(count, parquet, f"{root}/silver")

    def warm(self, warm: Source) -> dict[str, float]:
        """Every side twice; gives the seconds of the first time."""
        first = {}
        for name, side in self.sides.items():
            self.bench.tell(f"warming: {name}", None)
            first[name] = side(warm, "cold").wall_s
            side(warm, "warm")
        return first

    def turn(self, name: str, source: Source, to: str) -> Spent:
        """One side's turn. Before it judges, it judges a few rows: Spark ends Python workers that did nothing for a minute."""
        if self.few and not self.bench.quick:
            self.sides[name](self.few, f"{to}-few")
        return self.sides[name](source, to)

    def try_settings(self, source: Source) -> dict[str, float]:
        """Keep the setting with which MLflow's function is fastest; gives the rows a second of each."""
        trials: dict[Setting, float] = {}
        settings = [*(Setting(cpu_quota(), records) for records in RECORDS), Setting(1, RECORDS[-1])]
        for number, self.setting in enumerate(settings):
            self.bench.tell(f"{MLFLOW}: {self.setting}", number / len(settings))
            spent = self.turn(MLFLOW, source, f"trial-{number}")
            trials[self.setting] = spent.rows / spent.wall_s
        self.setting = max(trials, key=lambda setting: trials[setting])
        return {str(setting): rate for setting, rate in trials.items()}

    def bulk(self, source: Source, name: str) -> Spent:
        """The classifier alone."""
        return self.children["bulk"].spend(source.count, "judge", parquet=str(source.parquet))

    def ours(self, source: Source, name: str) -> Spent:
        """Gold as the stream writes it."""
        return self._merged("groundswell", source, self.root(OURS, name))

    def stand_in(self, source: Source, name: str) -> Spent:
        """The same without a model."""
        return self._merged("stand_in", source, self.root(STAND_IN, name))

    def mlflow(self, source: Source, name: str) -> Spent:
        """With the setting that is kept."""
        return self._appended("mlflow", source, self.root(MLFLOW, name), tasks=self.setting.tasks, records=self.setting.records)

    def flavor(self, source: Source, name: str) -> Spent:
        """A worker a processor."""
        return self._appended("mlflow_transformers", source, self.root(FLAVOUR, name), tasks=cpu_quota())

    def pipeline(self, source: Source, name: str) -> Spent:
        """A worker a processor."""
        return self._appended("pipeline", source, self.root(PIPELINE, name), tasks=cpu_quota())

    def agreeing(self, side: str, rounds: list[Source]) -> float:
        """Share of the rows that have the label bulk classify gives.

        Raises:
            LakehouseError: Gold has not each row once.
        """
        from deltalake import DeltaTable

        from data.errors import LakehouseError

        same = 0
        for number, source in enumerate(rounds):
            bulk = self.children["bulk"].ask("labels", parquet=str(source.parquet))
            gold = DeltaTable(f"{self.root(side, f'round-{number}')}/gold").to_pyarrow_table(columns=["id", "label"])
            found = dict(zip(gold["id"].to_pylist(), gold["label"].to_pylist(), strict=True))
            if gold.num_rows != source.count or found.keys() != bulk.keys():
                raise LakehouseError(
                    f"{side} did not write each row once.",
                    found=f"{gold.num_rows:,} rows, {len(found):,} ids",
                    expected=f"{source.count:,}",
                )
            same += sum(found[one] == label for one, label in bulk.items())
        return same / sum(source.count for source in rounds)

    def root(self, side: str, name: str) -> str:
        """Where a side writes."""
        return f"{self.bench.home}/{list(self.sides).index(side)}-{name}"

    def _merged(self, do: str, source: Source, root: str) -> Spent:
        self._empty(root)
        return self.children["judges"].spend(source.count, do, silver=source.silver, root=root)

    def _empty(self, root: str) -> None:
        """Empty tables. They are made once and copied, as Spark takes seconds to make them."""
        empty = self.bench.home / "empty"
        if not empty.exists():
            self.children["judges"].ask("tables", root=str(empty))
        shutil.copytree(empty, root)

    def _appended(self, do: str, source: Source, root: str, **setting: int) -> Spent:
        return self.children["judges"].spend(source.count, do, silver=source.silver, root=root, **setting)


def _outcome(
    bench: Bench,
    contest: Contest,
    spent: dict[str, list[Spent]],
    first: dict[str, float],
    trials: dict[str, float],
    rounds: list[Source],
) -> Outcome:
    agreeing = {name: contest.agreeing(name, rounds) for name in (OURS, MLFLOW, FLAVOUR, PIPELINE)}
    asked = contest.children["judges"].ask("asked")
    rates = {name: [one.rows / one.wall_s / cpu_quota() for one in spent[name]] for name in SHOWN}
    cpu = {name: [1000 * one.cpu_s / one.rows for one in spent[name]] for name in SHOWN}

    def row(name: str) -> list[str]:
        costs = spent[name]
        parts = [[1000 * one.jvm_s / one.rows for one in costs], [1000 * one.python_s / one.rows for one in costs]]
        figures = [figure(values) for values in (rates[name], cpu[name], *parts, [one.wall_s for one in costs])]
        cold = f"{first[name]:.1f}" if name in first else ""
        return [name, *figures, cold, f"{agreeing[name]:.2%}" if name in agreeing else ""]

    peers = {BULK: OF_BULK, MLFLOW: TIMES_MLFLOW, FLAVOUR: TIMES_MLFLOW, PIPELINE: TIMES_PIPELINE}
    goals = [Goal(f"{OURS} / {peer}, rows/s", ratios(rates[OURS], rates[peer]), goal) for peer, goal in peers.items()]
    goals += [Goal(f"{peer} / {OURS}, CPU s a row", ratios(cpu[peer], cpu[OURS])) for peer in peers]
    tried = "; ".join(f"{setting}: {rate:,.0f}" for setting, rate in trials.items()) or "no other was tried"
    notes = [
        f"{bench.rows:,} rows a round, texts of official test tweets with a number at the end, so that no text comes twice and "
        f"no kept answer helps; {cpu_quota()} cores, all of them for whoever has its turn.",
        f"From a Silver table to a new Gold table of one day. {OURS} takes the change feed, keeps the last of each id, judges "
        "and merges; the peers read the table, judge and append, which is less. One Spark session for all, workers for each.",
        f"Before that each judged {min(bench.rows, WARM_ROWS):,} rows twice; the first time, which loads the model, is "
        "shown. The judge that costs nothing is the first of all and pays for Spark's classes. Each turn begins with "
        f"{FEW_ROWS} rows that do not count, as Spark ends Python workers, and their model, after a minute without work.",
        f'{MLFLOW}: the bundle with serving/pyfunc_model.py, env_manager="local"; on one machine MLflow loads the model anew in '
        "each task. ONNX Runtime takes its threads from the model, not from OMP_NUM_THREADS. Fastest of what was tried: "
        f"{contest.setting} (rows/s: {tried}).",
        "That is our classifier inside MLflow. What MLflow makes of the checkpoint itself is its flavor mlflow.transformers: "
        f"float32, {cpu_quota()} tasks of one thread, batches of {PIPELINE_BATCH}, the model loaded anew in each task.",
        f"{PIPELINE}: float32 of the checkpoint that the bundle was made from, {cpu_quota()} workers of one thread, batches of "
        f"{PIPELINE_BATCH}; the worker keeps it from task to task.",
        f"The judge that costs nothing was asked for {asked:,} texts by the last {bench.rows:,} rows.",
    ]
    raw = {
        "rates": rates,
        "spent": {name: [one.to_dict() for one in costs] for name, costs in spent.items()},
        "first_s": first,
        "trials": trials,
        "agreeing": agreeing,
        "asked": asked,
    }
    return Outcome(COLUMNS, [row(name) for name in SHOWN], goals, notes, raw)
