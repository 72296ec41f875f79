"""Those who judge the rows of one Silver table: bulk classify, Groundswell's Gold, MLflow's function, a transformers function.

All but the first write a Delta table partitioned by day, in one Spark session with Groundswell's settings, each with Python
workers of its own. The peers append what they judged; Groundswell takes Silver's changes, keeps the last of each id and merges.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from data.settings import project_root

MODEL_OUTPUT = "label string, confidence double, negative double, neutral double, positive double"
STAND_IN = "stand-in"
PIPELINE_BATCH = 32
ARROW_RECORDS = "spark.sql.execution.arrow.maxRecordsPerBatch"


class Bulk:
    """The classifier over all texts at once, with the threads of all processors: nothing else is done."""

    def __init__(self, bundle: str) -> None:
        from serving.bundle import read_bundle
        from serving.classifier import Classifier

        self._classifier = Classifier(read_bundle(Path(bundle)))
        self._found: dict[str, dict[str, str]] = {}

    def judge(self, parquet: str) -> None:
        """Judge the texts of a Parquet file of Silver's rows."""
        import pyarrow.parquet as pq

        table = pq.read_table(parquet, columns=["id", "text"])
        answers = self._classifier.classify(table["text"].to_pylist())
        self._found[parquet] = dict(zip(table["id"].to_pylist(), (answer.label for answer in answers), strict=True))

    def labels(self, parquet: str) -> dict[str, str]:
        """Labels by id, of a file that was judged."""
        return self._found[parquet]

    def close(self) -> None:
        """Nothing to end."""


class Sparked:
    """One Spark session with Groundswell's settings."""

    def __init__(self, root: str) -> None:
        from orchestration.jars import spark_jars
        from serving.lakehouse.session import open_session
        from serving.settings import LakehouseSettings

        self.settings = LakehouseSettings.load(root=root)
        self.spark = open_session(self.settings, spark_jars(), app="groundswell bench")

    def tables(self, root: str) -> None:
        """Empty tables."""
        from serving.lakehouse.tables import ensure_tables

        ensure_tables(self.spark, root)

    def close(self) -> None:
        """End Spark."""
        self.spark.stop()


class Judges(Sparked):
    """Everybody who needs Spark."""

    def __init__(self, root: str, bundle: str, checkpoint: str) -> None:
        super().__init__(root)
        from serving.bundle import read_bundle

        self._root, self._bundle, self._checkpoint, self._asked = root, read_bundle(Path(bundle)), checkpoint, 0
        self._records = str(self.spark.conf.get(ARROW_RECORDS))

    def fill(self, root: str, parquet: str) -> None:
        """Put the rows of a Parquet file into Silver."""
        from serving.lakehouse.paths import table

        silver = self.spark.read.format("delta").load(table(root, "silver"))
        given = self.spark.read.parquet(parquet).select(*silver.columns)
        given.write.format("delta").mode("append").save(table(root, "silver"))

    def groundswell(self, silver: str, root: str) -> None:
        """Bring Gold of `root` up to that Silver table, with the bundle."""
        from serving.lakehouse.judge import bundle_udf

        with self._workers("groundswell", self._records):
            self._merge(silver, root, bundle_udf(self.spark, self._bundle))

    def stand_in(self, silver: str, root: str) -> None:
        """The same with a judge that costs nothing: what is left is Spark's and Delta's."""
        judge, asked = stand_in_udf(self.spark)
        with self._workers(STAND_IN, self._records):
            self._merge(silver, root, judge)
        self._asked = asked()

    def asked(self) -> int:
        """Texts that the judge that costs nothing was asked for the last time."""
        return self._asked

    def mlflow(self, silver: str, root: str, tasks: int, records: int) -> None:
        """`mlflow.pyfunc.spark_udf`, with so many tasks side by side and records in an Arrow batch."""
        with self._workers("mlflow", str(records)):
            self._append(silver, root, tasks, self._mlflow_udf)

    def mlflow_transformers(self, silver: str, root: str, tasks: int) -> None:
        """The same for the checkpoint as `mlflow.transformers` saves it, one thread a task."""
        with self._workers("mlflow transformers", self._records, OMP_NUM_THREADS="1"):
            self._append(silver, root, tasks, self._mlflow_transformers_udf)

    def pipeline(self, silver: str, root: str, tasks: int) -> None:
        """A pandas function around the transformers pipeline, with so many tasks side by side, one thread each."""
        with self._workers("pipeline", self._records, OMP_NUM_THREADS="1"):
            self._append(silver, root, tasks, self._pipeline_udf)

    def _merge(self, silver: str, root: str, judge: Callable[..., Any]) -> None:
        from serving.lakehouse.writing import write_gold

        reader = self.spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", 0)
        write_gold(root, reader.load(silver), judge)

    def _append(self, silver: str, root: str, tasks: int, judge: Callable[..., Any]) -> None:
        from serving.lakehouse.gold import FROM_SILVER

        rows = self.spark.read.format("delta").load(silver).repartition(tasks).withColumn("answer", judge("text"))
        writer = rows.select(*FROM_SILVER, "answer.*").write.format("delta").mode("append")
        writer.partitionBy("event_date").option("delta.autoOptimize.autoCompact", "true").save(f"{root}/gold")

    @contextmanager
    def _workers(self, side: str, records: str, **environment: str) -> Iterator[None]:
        """Functions that are first called in the block run in workers of that side: Spark keeps workers by their environment."""
        given = self.spark.sparkContext.environment
        before = dict(given)
        given.update({"BENCH_SIDE": side, **environment})
        self.spark.conf.set(ARROW_RECORDS, records)
        try:
            yield
        finally:
            given.clear()
            given.update(before)

    @functools.cached_property
    def _mlflow_udf(self) -> Callable[..., Any]:
        """Of the bundle saved as an MLflow model with `serving/pyfunc_model.py`, as the registry has it."""
        from training.tracking import _hush

        _hush()  # before MLflow is imported: it would send usage statistics
        from mlflow.models import ModelSignature
        from mlflow.pyfunc import save_model, spark_udf
        from mlflow.types import ColSpec, DataType, Schema

        numbers = ("confidence", "negative", "neutral", "positive")
        signature = ModelSignature(
            Schema([ColSpec(DataType.string, "text")]),
            Schema([ColSpec(DataType.string, "label"), *(ColSpec(DataType.double, name) for name in numbers)]),
        )
        model = f"{self._root}-mlflow-model"
        save_model(
            model,
            python_model=str(project_root() / "serving" / "pyfunc_model.py"),
            artifacts={"bundle": str(self._bundle.directory)},
            signature=signature,
            # Without the code: Spark's Python has it, and so MLflow need not copy and import it again in each task.
            pip_requirements=["onnxruntime"],
        )
        return spark_udf(self.spark, model, result_type=MODEL_OUTPUT, env_manager="local")

    @functools.cached_property
    def _mlflow_transformers_udf(self) -> Callable[..., Any]:
        """Of the checkpoint, as MLflow's documentation has it: its own flavor."""
        from training.tracking import _hush

        _hush()
        from mlflow.pyfunc import spark_udf
        from mlflow.transformers import save_model

        model = f"{self._root}-mlflow-transformers-model"
        save_model(
            classifier_of(self._checkpoint),
            model,
            task="text-classification",
            pip_requirements=["transformers"],
            model_config={"batch_size": PIPELINE_BATCH, "truncation": True},
        )
        return spark_udf(self.spark, model, result_type="label string, score double", env_manager="local")

    @functools.cached_property
    def _pipeline_udf(self) -> Callable[..., Any]:
        """What one writes first."""
        from pyspark.sql.functions import pandas_udf

        checkpoint = self._checkpoint

        @pandas_udf("label string, score double")  # pyright: ignore[reportCallIssue, reportArgumentType]
        def judge(batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
            classifier = classifier_of(checkpoint)
            for texts in batches:
                yield pd.DataFrame(classifier(texts.tolist(), batch_size=PIPELINE_BATCH, truncation=True))

        return judge


@functools.cache
def classifier_of(checkpoint: str) -> Any:
    """The pipeline of this worker: kept from task to task, so that loading it is paid once."""
    import torch
    from transformers import pipeline

    torch.set_num_threads(1)
    return pipeline("text-classification", model=checkpoint, device="cpu")


def stand_in_udf(spark: Any) -> tuple[Callable[..., Any], Callable[[], int]]:
    """A judge that says neutral to everything, and a function that gives how many texts it was asked for."""
    from pyspark.sql.functions import arrow_udf

    from serving.lakehouse.judge import ANSWERED

    asked = spark.sparkContext.accumulator(0)

    @arrow_udf(ANSWERED)  # pyright: ignore[reportCallIssue, reportArgumentType]
    def judge(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for texts in batches:
            count = len(texts)
            asked.add(count)
            columns = {
                "label": ["neutral"],
                "confidence": [0.8],
                "negative": [0.1],
                "neutral": [0.8],
                "positive": [0.1],
                "model_version": [STAND_IN],
            }
            yield pa.StructArray.from_arrays([pa.array(one * count) for one in columns.values()], list(columns))

    return judge, lambda: asked.value
