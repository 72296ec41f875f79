"""Section `gold`: rows per second from Silver to Gold, compared with bulk classify, MLflow's UDFs and a transformers UDF."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.figures import Goal, figure, ratios
from benchmarks.harness.report import Outcome
from benchmarks.lakehouse.bench import Bench, write_silver_rows
from benchmarks.lakehouse.child import Child, Spent
from benchmarks.lakehouse.systems import PIPELINE_BATCH
from serving.threads import cpu_quota

OURS, STUB, BULK = "Groundswell", "Groundswell, stub model", "bulk classify, no Spark"
MLFLOW, PIPELINE = "mlflow.pyfunc.spark_udf, this bundle", "transformers in a pandas UDF"
MLFLOW_TRANSFORMERS = "mlflow.pyfunc.spark_udf, mlflow.transformers"
SHOWN = (BULK, OURS, STUB, MLFLOW, MLFLOW_TRANSFORMERS, PIPELINE)
OF_BULK, TIMES_MLFLOW, TIMES_PIPELINE = 0.8, 3.0, 5.0
COLUMNS = ["", "rows/s per core", "CPU s per 1,000 rows", "in Java", "in Python", "wall s", "first batch s", "same label as bulk"]
WARM_ROWS = 1_000
"""Maximum number of warm-up rows."""
FEW_ROWS = 64
RECORDS = (256, 2_048, 10_000)
"""Rows per Arrow batch tried with MLflow's UDF; 10,000 is Spark's default, 2,048 the setting of our session."""


@dataclass(frozen=True)
class Source:
    """Rows that all systems classify."""

    count: int
    parquet: Path
    silver: str
    """A Delta table with the same rows."""


@dataclass(frozen=True)
class Setting:
    """Settings of MLflow's UDF."""

    tasks: int
    records: int
    """Rows per Arrow batch: `spark.sql.execution.arrow.maxRecordsPerBatch`."""

    def __str__(self) -> str:
        return f"{self.tasks} parallel tasks, {self.records:,} rows per Arrow batch"


def measure(bench: Bench) -> Outcome:
    """Run every system in turns on the same Silver table of new texts, after two warm-up runs each on another table."""
    with ExitStack() as stack:
        systems = GoldSystems(bench, bench.children(stack, _kinds(bench)))
        rounds = [systems.source(f"round-{k}", bench.rows) for k in range(bench.rounds)]
        systems.few = systems.source("few", min(bench.rows, FEW_ROWS))
        first = {} if bench.quick else systems.warm(systems.source("warm", min(bench.rows, WARM_ROWS)))
        trials = {} if bench.quick else systems.try_settings(rounds[0])
        spent = bench.in_turns({name: lambda k, name=name: systems.turn(name, rounds[k], f"round-{k}") for name in systems.sides})
        return _outcome(bench, systems, spent, first, trials, rounds)


def _kinds(bench: Bench) -> dict[str, dict[str, Any]]:
    bundle, checkpoint = str(bench.bundle.directory.resolve()), str(bench.checkpoint.resolve())
    return {"bulk": {"bundle": bundle}, "writers": {"root": f"{bench.home}/writers", "bundle": bundle, "checkpoint": checkpoint}}


@dataclass
class GoldSystems:
    """The systems; each is a function of rows and the name of a new Gold table."""

    bench: Bench
    children: dict[str, Child]
    few: Source | None = None
    setting: Setting = field(default_factory=lambda: Setting(cpu_quota(), RECORDS[-1]))

    @property
    def sides(self) -> dict[str, Callable[[Source, str], Spent]]:
        """The systems by name. On a cold start the first one also loads Spark's classes, which all need."""
        return {
            STUB: self.stub,
            OURS: self.ours,
            BULK: self.bulk,
            MLFLOW: self.mlflow,
            MLFLOW_TRANSFORMERS: self.flavor,
            PIPELINE: self.pipeline,
        }

    def source(self, name: str, count: int) -> Source:
        """Write `count` new texts to Silver."""
        self.bench.progress(f"filling Silver: {name}", None)
        root = f"{self.bench.home}/{name}"
        parquet = write_silver_rows(Path(f"{root}.parquet"), self.bench.texts.take(count))
        self._empty(root)
        self.children["writers"].ask("fill", root=root, parquet=str(parquet))
        return Source(count, parquet, f"{root}/silver")

    def warm(self, warm: Source) -> dict[str, float]:
        """Run every system twice and return the seconds of the first run."""
        first = {}
        for name, side in self.sides.items():
            self.bench.progress(f"warm-up: {name}", None)
            first[name] = side(warm, "cold").wall_s
            side(warm, "warm")
        return first

    def turn(self, name: str, source: Source, to: str) -> Spent:
        """Measure one system after it classified a few rows: Spark ends Python workers that were idle for a minute."""
        if self.few and not self.bench.quick:
            self.sides[name](self.few, f"{to}-few")
        return self.sides[name](source, to)

    def try_settings(self, source: Source) -> dict[str, float]:
        """Keep the fastest setting of MLflow's UDF and return the rows per second of each setting."""
        trials: dict[Setting, float] = {}
        settings = [*(Setting(cpu_quota(), records) for records in RECORDS), Setting(1, RECORDS[-1])]
        for number, self.setting in enumerate(settings):
            self.bench.progress(f"{MLFLOW}: {self.setting}", number / len(settings))
            spent = self.turn(MLFLOW, source, f"trial-{number}")
            trials[self.setting] = spent.rows / spent.wall_s
        self.setting = max(trials, key=lambda setting: trials[setting])
        return {str(setting): rate for setting, rate in trials.items()}

    def bulk(self, source: Source, name: str) -> Spent:
        """Run the classifier without Spark."""
        return self.children["bulk"].spend(source.count, "classify", parquet=str(source.parquet))

    def ours(self, source: Source, name: str) -> Spent:
        """Write Gold as the stream does."""
        return self._merged("groundswell", source, self.root(OURS, name))

    def stub(self, source: Source, name: str) -> Spent:
        """Write Gold with the stub model."""
        return self._merged("stub", source, self.root(STUB, name))

    def mlflow(self, source: Source, name: str) -> Spent:
        """Run MLflow's UDF of the bundle with the fastest setting."""
        return self._appended("mlflow", source, self.root(MLFLOW, name), tasks=self.setting.tasks, records=self.setting.records)

    def flavor(self, source: Source, name: str) -> Spent:
        """Run MLflow's UDF of the checkpoint with one worker per core."""
        return self._appended("mlflow_transformers", source, self.root(MLFLOW_TRANSFORMERS, name), tasks=cpu_quota())

    def pipeline(self, source: Source, name: str) -> Spent:
        """Run the transformers UDF with one worker per core."""
        return self._appended("pipeline", source, self.root(PIPELINE, name), tasks=cpu_quota())

    def agreeing(self, side: str, rounds: list[Source]) -> float:
        """Return the share of rows with the same label as bulk classify.

        Raises:
            LakehouseError: Gold does not have each row exactly once.
        """
        from deltalake import DeltaTable

        from data.errors import LakehouseError

        same = 0
        for number, source in enumerate(rounds):
            bulk = self.children["bulk"].ask("labels", parquet=str(source.parquet))
            gold = DeltaTable(f"{self.root(side, f'round-{number}')}/gold").to_pyarrow_table(columns=["id", "label"])
            labels = dict(zip(gold["id"].to_pylist(), gold["label"].to_pylist(), strict=True))
            if gold.num_rows != source.count or labels.keys() != bulk.keys():
                raise LakehouseError(
                    f"{side} did not write each row exactly once.",
                    found=f"{gold.num_rows:,} rows, {len(labels):,} ids",
                    expected=f"{source.count:,} rows and ids",
                )
            same += sum(labels[one] == label for one, label in bulk.items())
        return same / sum(source.count for source in rounds)

    def root(self, side: str, name: str) -> str:
        """Return the root that a system writes to."""
        return f"{self.bench.home}/{list(self.sides).index(side)}-{name}"

    def _merged(self, do: str, source: Source, root: str) -> Spent:
        self._empty(root)
        return self.children["writers"].spend(source.count, do, silver=source.silver, root=root)

    def _empty(self, root: str) -> None:
        """Create empty tables by copying: Spark takes seconds to create them, so it does so only once."""
        empty = self.bench.home / "empty"
        if not empty.exists():
            self.children["writers"].ask("tables", root=str(empty))
        shutil.copytree(empty, root)

    def _appended(self, do: str, source: Source, root: str, **setting: int) -> Spent:
        return self.children["writers"].spend(source.count, do, silver=source.silver, root=root, **setting)


def _outcome(
    bench: Bench,
    systems: GoldSystems,
    spent: dict[str, list[Spent]],
    first: dict[str, float],
    trials: dict[str, float],
    rounds: list[Source],
) -> Outcome:
    agreeing = {name: systems.agreeing(name, rounds) for name in (OURS, MLFLOW, MLFLOW_TRANSFORMERS, PIPELINE)}
    asked = systems.children["writers"].ask("asked")
    rates = {name: [one.rows / one.wall_s / cpu_quota() for one in spent[name]] for name in SHOWN}
    cpu = {name: [1000 * one.cpu_s / one.rows for one in spent[name]] for name in SHOWN}

    def row(name: str) -> list[str]:
        costs = spent[name]
        parts = [[1000 * one.jvm_s / one.rows for one in costs], [1000 * one.python_s / one.rows for one in costs]]
        figures = [figure(values) for values in (rates[name], cpu[name], *parts, [one.wall_s for one in costs])]
        cold = f"{first[name]:.1f}" if name in first else ""
        return [name, *figures, cold, f"{agreeing[name]:.2%}" if name in agreeing else ""]

    peers = {BULK: OF_BULK, MLFLOW: TIMES_MLFLOW, MLFLOW_TRANSFORMERS: TIMES_MLFLOW, PIPELINE: TIMES_PIPELINE}
    goals = [Goal(f"{OURS} / {peer}, rows/s", ratios(rates[OURS], rates[peer]), goal) for peer, goal in peers.items()]
    goals += [Goal(f"{peer} / {OURS}, CPU s per row", ratios(cpu[peer], cpu[OURS])) for peer in peers]
    tried = "; ".join(f"{setting}: {rate:,.0f}" for setting, rate in trials.items()) or "no other setting was tried"
    notes = [
        f"{bench.rows:,} rows per round, texts of official test tweets with a number at the end, so that all texts are unique "
        f"and the cache has no hits; {cpu_quota()} cores, all of them for the system whose turn it is.",
        f"From a Silver table to a new Gold table of one day. {OURS} reads the change feed, keeps the last state of each id, "
        "classifies and merges; the peers read the table, classify and append, which is less work. All share one Spark session; "
        "each has its own workers.",
        f"Before the measurement each system classified {min(bench.rows, WARM_ROWS):,} rows twice; the first run, which loads "
        "the model, is shown. The stub model runs first and also loads Spark's classes. Each turn begins with "
        f"{FEW_ROWS} rows that do not count, as Spark ends Python workers, and their model, after an idle minute.",
        f'{MLFLOW}: the bundle with serving/pyfunc_model.py, env_manager="local"; on one machine MLflow loads the model again in '
        "each task. ONNX Runtime takes its threads from the model, not from OMP_NUM_THREADS. Fastest setting: "
        f"{systems.setting} (rows/s: {tried}).",
        "That is our classifier inside MLflow. MLflow's own format for the checkpoint is its flavor mlflow.transformers: "
        f"float32, {cpu_quota()} tasks of one thread, batches of {PIPELINE_BATCH}, the model loaded again in each task.",
        f"{PIPELINE}: float32 of the checkpoint that the bundle was exported from, {cpu_quota()} workers of one thread, batches "
        f"of {PIPELINE_BATCH}; the worker keeps the model between tasks.",
        f"The stub model received {asked:,} texts for the last {bench.rows:,} rows.",
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
