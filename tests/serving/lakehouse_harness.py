"""A lakehouse for tests: one real Spark session that several tests share, a fake S3, raw tweets with known faults."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from data.raw_tweets import Expected
from orchestration.local.jars import spark_jars
from serving.bundle import Bundle
from serving.lakehouse.paths import LAYERS, table
from serving.settings import LakehouseSettings
from tests.make import text_of
from tests.serving.running import ROOT, spare_port
from tests.waiting import until_passes

LABELS = ("negative", "neutral", "positive")
QUICK = {
    # A short run ends before generated code pays off.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.memory": "1g",
}
PYTHON = [sys.executable, "-m", "orchestration.cli"]


def texts(count: int) -> list[tuple[str, str]]:
    """Texts that the tiny model classifies correctly, with their labels."""
    return [(text_of(LABELS[n % 3], n), LABELS[n % 3]) for n in range(count)]


def settings(**given: Any) -> LakehouseSettings:
    return LakehouseSettings.load(spark=QUICK | given.pop("spark", {}), master="local[2]", **given)


@contextmanager
def session(**spark: str) -> Iterator[Any]:
    from serving.lakehouse.session import open_session

    opened = open_session(settings(spark=spark), spark_jars())
    try:
        yield opened
    finally:
        opened.stop()


@dataclass
class Tables:
    """One lakehouse in the shared session."""

    spark: Any
    root: str
    bundle: Bundle
    files_per_batch: int = 100
    more: dict[str, Any] = field(default_factory=dict)
    """Further settings."""

    @property
    def lake(self):
        from serving.lakehouse.run import Lakehouse

        given = settings(root=self.root, files_per_batch=self.files_per_batch, **self.more)
        return Lakehouse(self.spark, self.root, given, lambda: self.bundle)

    def make(self) -> "Tables":
        from serving.lakehouse.tables import ensure_tables

        ensure_tables(self.spark, self.root)
        return self

    def once(self, source: Path | str | None) -> None:
        from serving.lakehouse.run import local_source, run_once

        run_once(self.lake, None if source is None else local_source(str(source)))

    def read(self, layer, version: int | None = None):
        reader = self.spark.read.format("delta")
        return (reader if version is None else reader.option("versionAsOf", version)).load(table(self.root, layer))

    def counts(self) -> dict[str, int]:
        return {layer: self.read(layer).count() for layer in LAYERS}

    def reasons(self) -> dict[str, int]:
        return {row[0]: row[1] for row in self.read("silver_rejected").groupBy("reason").count().collect()}

    def holds(self, expected: Expected) -> None:
        """Assert every count by reason, and every row of Silver as it was written."""
        counts = self.counts()
        assert counts == {
            "bronze": expected.lines,
            "silver": expected.silver,
            "gold": expected.silver,
            "silver_rejected": sum(expected.rejected.values()),
        }
        assert self.reasons() == expected.rejected
        # Times as numbers: collected times are in this machine's zone.
        rows = self.read("silver").selectExpr("id", "text", "true_label", "unix_micros(created_at)").collect()
        actual = {row[0]: tuple(row[1:]) for row in rows}
        wanted = {identity: (text, label, round(at.timestamp() * 1e6)) for identity, (text, label, at) in expected.truth.items()}
        assert actual == wanted


def rows_of(root: str, layer: str, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """A table's rows by id, read without Spark."""
    from deltalake import DeltaTable

    read = DeltaTable(f"{root}/{layer}").to_pyarrow_table(columns=list(columns)).to_pylist()
    return sorted(read, key=lambda row: row["id"])


def environment(root: str, bundle: Bundle, var: Path, **more: str) -> dict[str, str]:
    """For `groundswell lakehouse` as a process."""
    return os.environ | {
        "GROUNDSWELL_PATHS__VAR_DIR": str(var),
        "GROUNDSWELL_BUNDLE_DIR": str(bundle.directory),
        "GROUNDSWELL_LAKEHOUSE__ROOT": root,
        "GROUNDSWELL_LAKEHOUSE__MASTER": "local[2]",
        "GROUNDSWELL_LAKEHOUSE__SPARK": json.dumps(QUICK),
        **more,
    }


def start(environment: dict[str, str], *arguments: str, log: Path) -> subprocess.Popen[bytes]:
    """`groundswell lakehouse <arguments>` with Java and workers in a process group of its own."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [*PYTHON, "lakehouse", *arguments], cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
        )


@contextmanager
def s3(**environment: str) -> Iterator[str]:
    """The address of a fake S3 (moto) with its own buckets. It accepts any credentials unless `environment` changes that."""
    port = spare_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | environment,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until_passes(lambda: httpx.get(url, timeout=2), retry=httpx.HTTPError)
        yield url
    finally:
        process.terminate()
        process.wait(50)
