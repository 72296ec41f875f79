"""The job on a cluster: real `spark-submit`, executors in separate processes, Groundswell only where it was sent."""

import os
import re
import signal
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from deltalake import DeltaTable

from data.raw_tweets import Expected, write_raw_tweets
from orchestration.cli import doctor
from orchestration.local.jars import spark_jars
from serving.bundle import Bundle
from serving.lakehouse import job
from tests.make import text_of
from tests.models import tiny_bundle
from tests.serving.running import ROOT
from tests.waiting import until

LIBRARIES = Path(sysconfig.get_path("purelib"))
DATABRICKS = ROOT / "serving" / "lakehouse" / "databricks"
TEXTS = [(text_of(label, n), label) for n in range(60) for label in ("negative", "neutral", "positive")]


@dataclass(frozen=True)
class Cluster:
    """A folder like a cluster node: Spark, a Python with all libraries but without Groundswell, and the submitted files."""

    folder: Path
    bundle: Bundle
    expected: Expected

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("GROUNDSWELL_", "PYTHON", "SPARK_"))}
        places = {"SPARK_HOME": str(self.folder / "spark"), "PYSPARK_PYTHON": str(self.folder / "python")}
        return clean | places | {"SPARK_LOCAL_IP": "127.0.0.1"}

    def submit(self, master: str, *arguments: object) -> list[str]:
        """The command that submits the job."""
        return [
            str(LIBRARIES / "pyspark" / "bin" / "spark-submit"),
            "--master",
            master,
            "--jars",
            ",".join(map(str, spark_jars().glob("*.jar"))),
            "--py-files",
            str(self.folder / "groundswell.zip"),
            "--conf",
            "spark.executor.memory=1g",
            "--conf",
            "spark.ui.enabled=false",
            "--conf",
            "spark.sql.shuffle.partitions=2",
            str(self.folder / "job.py"),
            *map(str, arguments),
        ]

    def table(self, layer: str):
        return DeltaTable(str(self.folder / "lake" / layer)).to_pyarrow_table()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Cluster:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "spark").mkdir()
    for part in ("bin", "jars"):  # Spark's workers create their folders next to these
        (folder / "spark" / part).symlink_to(LIBRARIES / "pyspark" / part)
    python = folder / "python"
    # Without the site module Python does not find the checkout, which is installed as editable.
    python.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{LIBRARIES}" exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    with zipfile.ZipFile(folder / "groundswell.zip", "w") as package:
        for path in [*(ROOT / "data").rglob("*.py"), *(ROOT / "serving").rglob("*.py")]:
            if "node_modules" not in path.parts:
                package.write(path, path.relative_to(ROOT))
    (folder / "job.py").write_bytes((ROOT / "serving" / "lakehouse" / "job.py").read_bytes())
    expected = write_raw_tweets(folder / "raw", TEXTS, count=200, files=4)
    return Cluster(folder, tiny_bundle(folder / "tiny"), expected)


def run(command, cluster, **environment):
    surroundings = cluster.environment | environment
    return subprocess.run(command, cwd=cluster.folder, env=surroundings, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.lakehouse
def test_executors_with_only_the_submitted_files_fill_all_layers(cluster):
    lacking = run([cluster.folder / "python", "-c", "import serving"], cluster)
    assert "No module named 'serving'" in lacking.stderr, "otherwise the submitted package proves nothing"
    found = run(
        cluster.submit(
            "local-cluster[1,1,1024]",
            "run",
            "--once",
            "--source",
            cluster.folder / "raw",
            "--root",
            cluster.folder / "lake",
            "--bundle",
            f"file://{cluster.bundle.directory}",
        ),
        cluster,
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-3000:]
    assert re.search(r"gold batch 0: [\d,]+ rows", found.stdout)
    assert list((cluster.folder / "spark" / "work").glob("app-*/0/stderr")), "an executor ran in a separate process"
    assert cluster.table("bronze").num_rows == cluster.expected.lines
    rejected = cluster.table("silver_rejected")["reason"].value_counts().to_pylist()
    assert {row["values"]: row["counts"] for row in rejected} == cluster.expected.rejected
    gold = cluster.table("gold").select(["id", "text", "label", "model_version"]).to_pylist()
    assert {row["id"]: row["text"] for row in gold} == {key: truth[0] for key, truth in cluster.expected.truth.items()}
    assert {row["model_version"] for row in gold} == {cluster.bundle.manifest.version}
    right = sum(row["label"] == cluster.expected.truth[row["id"]][1] for row in gold)
    assert right / len(gold) > 0.95, "the submitted bundle classified them"


@pytest.mark.lakehouse
def test_sigterm_lets_the_running_batch_finish(cluster):
    before = cluster.table("gold").num_rows
    (cluster.folder / "raw" / ".late.jsonl").write_text('{"id": "late", "text": "a great late train"}\n')
    (cluster.folder / "raw" / ".late.jsonl").rename(cluster.folder / "raw" / "late.jsonl")
    command = cluster.submit(
        "local[1]",
        "run",
        "--every",
        "1s",
        "--source",
        cluster.folder / "raw",
        "--root",
        cluster.folder / "lake",
        "--bundle",
        cluster.bundle.directory,
    )
    with (cluster.folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=cluster.folder, env=cluster.environment, stdout=log, stderr=log)
    try:
        until(lambda: cluster.table("gold").num_rows > before, running=lambda: process.poll() is None, every_s=1)
        assert cluster.table("gold").num_rows == before + 1, (cluster.folder / "log").read_text()[-3000:]
        children = psutil.Process(process.pid).children()
        (driver,) = [child for child in children if child.status() != "zombie" and "job.py" in " ".join(child.cmdline())]
        driver.send_signal(signal.SIGTERM)
        assert process.wait(600) == 0
    finally:
        process.kill()
    assert "Stopped; submit the same job to resume." in (cluster.folder / "log").read_text()


@pytest.mark.lakehouse
def test_existing_session_is_used_and_not_stopped(cluster):
    """As on Databricks: the job runs in a session that others started."""
    other = tiny_bundle(cluster.folder / "other", strength=3.0)
    root = cluster.folder / "lake"
    script = f"""
from pathlib import Path
from serving.lakehouse import job
from serving.lakehouse.session import open_session
from serving.settings import LakehouseSettings
given = {{"spark.sql.shuffle.partitions": "2"}}
spark = open_session(LakehouseSettings.load(master="local[1]", spark=given), Path({str(spark_jars())!r}))
spark.conf.set("spark.sql.extensions.of.others", "theirs")
at = ["--since", "2000-01-01", "--until", "2100-01-01"]
backfill = ["backfill", *at, "--root", {str(root)!r}, "--bundle"]
assert job.main([*backfill, {str(other.directory)!r}]) == 0
assert job.main(["maintain", "--root", {str(root)!r}]) == 0
assert job.main([*backfill, "/nowhere"]) == 1
assert spark.range(3).count() == 3 and spark.conf.get("spark.sql.extensions.of.others") == "theirs"
"""
    found = run([sys.executable, "-c", script], cluster, PYTHONPATH=str(ROOT), PYSPARK_PYTHON=sys.executable)
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-3000:]
    rows = cluster.table("gold").num_rows
    assert f"{rows:,} rows were classified by {other.manifest.version}" in found.stdout
    assert re.search(r"bronze: \d+ files, now 1,", found.stdout)
    assert "BundleError: No bundle in /nowhere" in found.stderr
    versions = [set(dict(row)) for row in cluster.table("gold")["answers"].to_pylist()]
    assert all(found == {cluster.bundle.manifest.version, other.manifest.version} for found in versions)
    assert set(cluster.table("gold")["model_version"].to_pylist()) == {cluster.bundle.manifest.version}, (
        "readers see the old version"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["run", "--once", "--source", "raw"], 2, "--root"),
        (["run", "--once", "--root", "lake"], 2, "--source"),
        (["run", "--root", "lake", "--source", "raw"], 2, "--once --every"),
        (["run", "--root", "lake", "--source", "raw", "--every", "soon"], 2, "such as 30s"),
        (["run", "--once", "--every", "1s"], 2, "not allowed with"),
        (["backfill", "--root", "lake", "--since", "yesterday", "--until", "2026-01-01"], 2, "such as 2026-01-31"),
        (["optimize"], 2, "invalid choice"),
    ],
)
def test_wrong_arguments_fail_before_spark_starts(arguments, status, message, capsys):
    try:
        code = job.main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == status
    output = capsys.readouterr().err
    assert message in output and "Traceback" not in output


def test_times_and_durations_are_parsed():
    asked = job.parser().parse_args(["backfill", "--since", "2026-01-01", "--until", "2026-02-01T01:00:00+01:00"])
    assert (asked.since.isoformat(), asked.until.isoformat()) == ("2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00")
    assert job.parser().parse_args(["run", "--every", "5m"]).every == 300


# --- Databricks: read, not deployed ---


def _yaml(name: str) -> dict:
    return yaml.safe_load((DATABRICKS / name).read_text(encoding="utf-8"))


TOP, JOBS = _yaml("databricks.yml"), _yaml("resources/jobs.yml")["resources"]["jobs"]
TASKS = {name: task for name, found in JOBS.items() for task in found["tasks"]}


def test_asset_bundle_includes_its_jobs_and_defines_its_variables():
    assert [path.name for pattern in TOP["include"] for path in DATABRICKS.glob(pattern)] == ["jobs.yml"]
    text = (DATABRICKS / "databricks.yml").read_text() + (DATABRICKS / "resources" / "jobs.yml").read_text()
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == set(TOP["variables"])
    for name, found in JOBS.items():
        given = {parameter["name"] for parameter in found.get("parameters", [])}
        assert set(re.findall(r"\{\{job\.parameters\.(\w+)\}\}", str(found))) == given, name
        assert found["max_concurrent_runs"] == 1, "one driver per root"


@pytest.mark.parametrize("name", sorted(TASKS))
def test_each_task_runs_the_job_with_valid_arguments(name):
    script = TASKS[name]["spark_python_task"]
    assert (DATABRICKS / "resources" / script["python_file"]).resolve() == Path(job.__file__)
    synced = [(DATABRICKS / path).resolve() for path in TOP["sync"]["paths"]]
    assert any(folder in Path(job.__file__).parents for folder in synced)
    values = {"every": TOP["variables"]["every"]["default"], "since": "2026-01-01", "until": "2026-02-01"}
    words = [
        re.sub(r"\$\{var\.(\w+)\}|\{\{job\.parameters\.(\w+)\}\}", lambda m: values.get(m[1] or m[2], "x"), word)
        for word in script["parameters"]
    ]
    asked = job.parser().parse_args(words)
    assert asked.root == "x" and (asked.command == "maintain" or asked.bundle == "x")
    assert TASKS[name]["job_cluster_key"] in {one["job_cluster_key"] for one in JOBS[name]["job_clusters"]}


def test_wheel_is_this_project_and_libraries_match_its_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    built = TOP["artifacts"]["groundswell"]
    assert (DATABRICKS / built["path"]).resolve() == ROOT and "--wheel-dir dist" in built["build"]
    extra = {re.match(r"[\w-]+", one)[0]: one for one in project["optional-dependencies"]["lakehouse"]}
    there_or_not_needed = {"delta-spark", "duckdb", "filelock", "pyspark"}
    wanted = {one for name, one in extra.items() if name not in there_or_not_needed}
    for task in TASKS.values():
        (wheel,) = [one["whl"] for one in task["libraries"] if "whl" in one]
        folder = (DATABRICKS / "resources" / wheel).parent.resolve()
        assert folder == ROOT / "dist" and wheel.endswith(f"{project['name']}-*.whl")
        assert {one["pypi"]["package"] for one in task["libraries"] if "pypi" in one} == wanted


def test_cluster_runs_this_spark_and_contains_no_secret():
    cluster = TOP["variables"]["cluster"]["default"]
    assert re.fullmatch(r"19\.x-scala2\.13", cluster["spark_version"])  # Spark 4.2
    pins = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'"pyspark(\[\w+\])?==4\.2\.', pins) and cluster["data_security_mode"] == "SINGLE_USER"
    assert not re.search(r"(?i)token\b|password|AKIA|dapi", str(TOP) + str(JOBS))


# --- groundswell doctor ---


def test_doctor_reports_java_jars_and_tables(tmp_path, monkeypatch):
    findings = {finding.thing: finding for finding in doctor.examine()}
    assert findings["lakehouse"].state == "optional" and "groundswell lakehouse run" in findings["lakehouse"].remedy
    assert findings["java"].state in {"ok", "optional"} and findings["Spark's jars"].state in {"ok", "optional"}
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert doctor._java().state == "optional" and "openjdk-17" in doctor._java().remedy
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    assert "too old" in doctor._java().found and "11.0.2" in doctor._java().found


def test_doctor_finds_tables_and_reports_an_unreachable_bucket(monkeypatch, tmp_path):
    import pyarrow as pa
    from deltalake import write_deltalake

    write_deltalake(str(tmp_path / "lake" / "gold"), pa.table({"id": ["1"]}))
    monkeypatch.setenv("GROUNDSWELL_LAKEHOUSE__ROOT", str(tmp_path / "lake"))
    found = doctor._lakehouse()
    assert found.state == "ok" and "version 0" in found.found
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION"):
        monkeypatch.setenv(f"AWS_{name}", "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("GROUNDSWELL_LAKEHOUSE__ROOT", "s3a://unknown/lake")
    found = doctor._lakehouse()
    assert found.state == "missing" and "refused" in found.found and "\x1b" not in found.found
