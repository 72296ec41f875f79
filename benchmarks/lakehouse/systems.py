"""The systems that classify the rows of one Silver table: bulk classify, Groundswell's Gold, MLflow's UDFs, a transformers UDF.

All but the first write a Delta table partitioned by day, in one Spark session with Groundswell's settings, each with its own
Python workers. The peers append their rows; Groundswell reads Silver's changes, keeps the last state of each id and merges.
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
STUB = "stub"
PIPELINE_BATCH = 32
ARROW_RECORDS = "spark.sql.execution.arrow.maxRecordsPerBatch"


class Bulk:
    """The classifier on all texts at once, with threads on all cores and without Spark."""

    def __init__(self, bundle: str) -> None:
        from serving.bundle import read_bundle
        from serving.classifier import Classifier

        self._classifier = Classifier(read_bundle(Path(bundle)))
        self._labels: dict[str, dict[str, str]] = {}

    def classify(self, parquet: str) -> None:
        """Classify the texts of a Parquet file of Silver's rows."""
        import pyarrow.parquet as pq

        table = pq.read_table(parquet, columns=["id", "text"])
        ids: list[Any] = table["id"].to_pylist()
        texts: list[Any] = table["text"].to_pylist()
        labels = [one.label for one in self._classifier.classify(texts)]
        self._labels[parquet] = dict(zip(ids, labels, strict=True))

    def labels(self, parquet: str) -> dict[str, str]:
        """Return the labels by id of a classified file."""
        return self._labels[parquet]

    def close(self) -> None:
        """Do nothing; required by `program`."""


class SparkProgram:
    """A program with one Spark session and Groundswell's settings."""

    def __init__(self, root: str) -> None:
        from orchestration.local.jars import spark_jars
        from serving.lakehouse.session import open_session
        from serving.settings import LakehouseSettings

        self.settings = LakehouseSettings.load(root=root)
        self.spark = open_session(self.settings, spark_jars(), app="groundswell bench")

    def tables(self, root: str) -> None:
        """Create empty tables."""
        from serving.lakehouse.tables import ensure_tables

        ensure_tables(self.spark, root)

    def close(self) -> None:
        """Stop Spark."""
        self.spark.stop()


class GoldWriters(SparkProgram):
    """All systems that need Spark."""

    def __init__(self, root: str, bundle: str, checkpoint: str) -> None:
        super().__init__(root)
        from serving.bundle import read_bundle

        self._root, self._bundle, self._checkpoint, self._asked = root, read_bundle(Path(bundle)), checkpoint, 0
        self._records = str(self.spark.conf.get(ARROW_RECORDS))

    def fill(self, root: str, parquet: str) -> None:
        """Append the rows of a Parquet file to Silver."""
        from serving.lakehouse.paths import table

        silver = self.spark.read.format("delta").load(table(root, "silver"))
        given = self.spark.read.parquet(parquet).select(*silver.columns)
        given.write.format("delta").mode("append").save(table(root, "silver"))

    def groundswell(self, silver: str, root: str) -> None:
        """Write Gold of `root` from a Silver table, with the bundle."""
        from serving.lakehouse.classify import bundle_udf

        with self._workers("groundswell", self._records):
            self._merge(silver, root, bundle_udf(self.spark, self._bundle, domains={}))

    def stub(self, silver: str, root: str) -> None:
        """Do the same with a stub model, which leaves the cost of Spark and Delta."""
        classify, asked = stub_udf(self.spark)
        with self._workers(STUB, self._records):
            self._merge(silver, root, classify)
        self._asked = asked()

    def asked(self) -> int:
        """Return the number of texts that the stub model received in the last run."""
        return self._asked

    def mlflow(self, silver: str, root: str, tasks: int, records: int) -> None:
        """Run `mlflow.pyfunc.spark_udf` with `tasks` parallel tasks and `records` rows per Arrow batch."""
        with self._workers("mlflow", str(records)):
            self._append(silver, root, tasks, self._mlflow_udf)

    def mlflow_transformers(self, silver: str, root: str, tasks: int) -> None:
        """Do the same for the checkpoint as saved by `mlflow.transformers`, with one thread per task."""
        with self._workers("mlflow transformers", self._records, OMP_NUM_THREADS="1"):
            self._append(silver, root, tasks, self._mlflow_transformers_udf)

    def pipeline(self, silver: str, root: str, tasks: int) -> None:
        """Run a pandas UDF around the transformers pipeline with `tasks` parallel tasks of one thread."""
        with self._workers("pipeline", self._records, OMP_NUM_THREADS="1"):
            self._append(silver, root, tasks, self._pipeline_udf)

    def _merge(self, silver: str, root: str, classify: Callable[..., Any]) -> None:
        from serving.lakehouse.writing import write_gold

        reader = self.spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", 0)
        write_gold(root, reader.load(silver), lambda: classify)

    def _append(self, silver: str, root: str, tasks: int, classify: Callable[..., Any]) -> None:
        from serving.lakehouse.gold import FROM_SILVER

        rows = self.spark.read.format("delta").load(silver).repartition(tasks).withColumn("prediction", classify("text"))
        writer = rows.select(*FROM_SILVER, "prediction.*").write.format("delta").mode("append")
        writer.partitionBy("event_date").option("delta.autoOptimize.autoCompact", "true").save(f"{root}/gold")

    @contextmanager
    def _workers(self, side: str, records: str, **environment: str) -> Iterator[None]:
        """Give UDFs that are first called in the block their own workers: Spark reuses workers only within one environment."""
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
        """The UDF of the bundle, saved as an MLflow model with `serving/pyfunc_model.py`, like in the registry."""
        from data.library_settings import quiet_mlflow

        quiet_mlflow()  # before MLflow is imported: it would send usage statistics
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
            # Without the code: Spark's Python has it, so MLflow does not copy and import it again in each task.
            pip_requirements=["onnxruntime"],
        )
        return spark_udf(self.spark, model, result_type=MODEL_OUTPUT, env_manager="local")

    @functools.cached_property
    def _mlflow_transformers_udf(self) -> Callable[..., Any]:
        """The UDF of the checkpoint with MLflow's own flavor, as in MLflow's documentation."""
        from data.library_settings import quiet_mlflow

        quiet_mlflow()
        from mlflow.pyfunc import spark_udf
        from mlflow.transformers import save_model

        model = f"{self._root}-mlflow-transformers-model"
        save_model(
            load_pipeline(self._checkpoint),
            model,
            task="text-classification",
            pip_requirements=["transformers"],
            model_config={"batch_size": PIPELINE_BATCH, "truncation": True},
        )
        return spark_udf(self.spark, model, result_type="label string, score double", env_manager="local")

    @functools.cached_property
    def _pipeline_udf(self) -> Callable[..., Any]:
        """The UDF of a simple first implementation."""
        from pyspark.sql.functions import pandas_udf

        checkpoint = self._checkpoint

        @pandas_udf("label string, score double")  # pyright: ignore[reportCallIssue, reportArgumentType]
        def classify(batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
            classifier = load_pipeline(checkpoint)
            for texts in batches:
                yield pd.DataFrame(classifier(texts.tolist(), batch_size=PIPELINE_BATCH, truncation=True))

        return classify


@functools.cache
def load_pipeline(checkpoint: str) -> Any:
    """Return the pipeline of this worker; it is kept between tasks, so it is loaded once."""
    import torch
    from transformers import pipeline

    torch.set_num_threads(1)
    return pipeline("text-classification", model=checkpoint, device="cpu")


def stub_udf(spark: Any) -> tuple[Callable[..., Any], Callable[[], int]]:
    """Return a UDF that predicts neutral for every text, and a function that returns the number of texts it received."""
    from pyspark.sql.functions import arrow_udf

    from serving.lakehouse.classify import PREDICTION_TYPE

    asked = spark.sparkContext.accumulator(0)

    @arrow_udf(PREDICTION_TYPE)  # pyright: ignore[reportCallIssue, reportArgumentType]
    def classify(batches: Iterator[tuple[pa.Array, pa.Array]]) -> Iterator[pa.Array]:
        for texts, _ in batches:
            count = len(texts)
            asked.add(count)
            columns = {
                "label": ["neutral"],
                "confidence": [0.8],
                "negative": [0.1],
                "neutral": [0.8],
                "positive": [0.1],
                "sarcasm": [None],
                "model_version": [STUB],
            }
            types = {"sarcasm": pa.float64()}
            arrays = [pa.array(one * count, types.get(name)) for name, one in columns.items()]
            yield pa.StructArray.from_arrays(arrays, list(columns))

    return classify, lambda: asked.value
