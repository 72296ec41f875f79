"""The command line, each call in a process of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import tiny_bundle
from tests.serving.running import spare_port

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "data",
    "train",
    "benchmark",
    "export",
    "promote",
    "rollback",
    "leaderboard",
    "classify",
    "score",
    "serve",
    "stream",
    "demo",
    "doctor",
    "stop",
    "keys",
    "automation",
)


def groundswell(*arguments, stdin=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
        check=False,
        input=stdin,
        errors="surrogateescape",
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "bundle").directory


def test_help_names_every_command_and_imports_nothing_heavy():
    done = groundswell("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in done.stdout
    code = "import sys, orchestration.cli.main; print([m for m in ('torch', 'dagster', 'pandas', 'mlflow') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    done = groundswell(command, "--help")
    assert done.returncode == 0 and "Usage" in done.stdout


def test_classify_and_its_json(bundle):
    assert "positive" in groundswell("classify", "a great film", "--bundle", bundle).stdout
    results = json.loads(groundswell("classify", "a great film", "an awful soup", "--bundle", bundle, "--json").stdout)
    assert [result["label"] for result in results] == ["positive", "negative"]


def test_classify_reads_lines_of_stdin_and_refuses_unreadable_texts(bundle):
    lines = ["a great film", "", "\u200b \u200b", "an awful soup", "[red]the number[/] [/nothing]"]
    call = ("classify", "-", "--bundle", bundle)
    results = json.loads(groundswell(*call, "--json", stdin="\r\n".join(lines)).stdout)
    assert [result["text"] for result in results] == lines
    assert [result.get("label") for result in results] == ["positive", None, None, "negative", "neutral"]
    assert [result.get("error") for result in results] == [None, "is blank", "is blank", None, None]
    shown = groundswell(*call, stdin="\n".join(lines))
    assert shown.returncode == 0 and lines[-1] in shown.stdout and shown.stdout.count("is blank") == 2
    assert groundswell("classify", "", "--bundle", bundle).returncode == 1, "nothing was classified"


@pytest.mark.parametrize(
    ("stdin", "message"), [("", "No text on stdin"), ("x\n" * 10_001, "10,000 lines"), ("\udcff", "not UTF-8")]
)
def test_classify_with_invalid_stdin_fails_with_a_message(bundle, stdin, message):
    done = groundswell("classify", "-", "--bundle", bundle, stdin=stdin)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr


def test_score_prints_one_row_of_plain_json(bundle, tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("body,mood\n" + "a great film,positive\nan awful soup,negative\nthe number,neutral\n" * 20)
    arguments = ("score", path, "--text-column", "body", "--label-column", "mood", "--bundle", bundle)
    row = json.loads(groundswell(*arguments, "--json", "--out", tmp_path / "out.jsonl").stdout)
    assert row["rows"] == 60 and row["texts_per_s"] > 0 and row["candidate"].startswith("tiny-")
    for metric in ("accuracy", "macro_f1", "macro_recall", "recall_negative", "recall_neutral", "recall_positive"):
        assert row[metric] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 60
    shown = groundswell(*arguments).stdout
    assert "macro recall" in shown and "100.00  [100.00, 100.00]" in shown


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "message"),
    [
        (("leaderboard",), {}, 1, ["groundswell"]),
        (("classify", "x"), {}, 1, ["No model has the alias 'production' yet", "make demo"]),
        (("rollback",), {}, 1, ["no version to go back to"]),
        (("classify", "x", "--bundle", "/nowhere"), {}, 1, ["No bundle in /nowhere", "groundswell export"]),
        (("score", "/nowhere.csv"), {}, 1, ["No model"]),
        (("leaderboard",), {"GROUNDSWELL_PATHS__VAR_DIRR": "x"}, 2, ["VAR_DIRR", "VAR_DIR"]),
        (("leaderboard",), {"GROUNDSWELL_PROFILE": "offlin"}, 2, ["offline"]),
        (("data",), {"GROUNDSWELL_DATA__DATASETS": '["airlin"]'}, 1, ["Unknown dataset 'airlin'", "'airline'"]),
        (("train", "--epochs", "no"), {}, 2, ["--epochs"]),
        (("serve", "--port", "99999"), {}, 2, ["--port"]),
        (("tarin",), {}, 2, ["train"]),
    ],
)
def test_failed_command_prints_its_error_without_a_traceback(arguments, environment, code, message):
    done = groundswell(*arguments, **environment)
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    assert "Traceback" not in output
    for words in message:
        assert words in output


@pytest.mark.parametrize("command", ["benchmark", "export", "promote"])
def test_command_after_training_does_not_start_a_training(command, tmp_path):
    done = groundswell(command)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for words in ("Nothing has been trained yet", "no checkpoint in", "groundswell train", "--with-upstream"):
        assert words in done.stderr
    assert not (tmp_path / "var").exists()


@pytest.mark.integration
def test_data_with_a_named_dataset_that_fails_reports_the_reason(tmp_path):
    only = groundswell("data", GROUNDSWELL_DATA__DATASETS='["airline"]')
    assert only.returncode == 1 and "… Fetch" not in only.stdout
    for words in ("nothing to train on", "enabled: airline", "Enable tweeteval_sentiment too", "`train: true` for airline"):
        assert words in only.stderr
    settings = {"GROUNDSWELL_DATA__DIR": str(tmp_path), "GROUNDSWELL_DATA__DATASETS": '["tweeteval_sentiment"]'}
    assert "tweeteval_sentiment is not in" in groundswell("data", **settings).stderr
    (tmp_path / "tweeteval_sentiment").mkdir()
    (tmp_path / "tweeteval_sentiment" / "data.csv").write_text("id,text,label,split\n1,a text,neutral,train\n")
    errors = groundswell("data", **settings).stderr
    for words in ("not the one in configs/datasets.yaml", "found", "expected", "Restore the recorded file"):
        assert words in errors
    assert not list((tmp_path / "var").rglob("texts.parquet"))


def test_read_only_var_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = groundswell("data", GROUNDSWELL_PATHS__VAR_DIR=str(tmp_path / "file" / "var"))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "cannot be written" in done.stderr and "file/var" in done.stderr


@pytest.mark.integration
def test_doctor_lists_its_findings(tmp_path):
    port = str(spare_port())  # another process may use the default port
    done = groundswell("doctor", GROUNDSWELL_SERVING__PORT=port)
    assert done.returncode == 0
    assert "packages: train" in done.stdout and "sample" in done.stdout
    broken = groundswell("doctor", GROUNDSWELL_DATA__DIR="/nowhere")
    assert broken.returncode == 1 and "GROUNDSWELL_DATA__DIR" in broken.stdout


def interrupt_at(stage: str, command: str, environment: dict[str, str]) -> Path:
    """Send Ctrl-C to a command at the start of a stage; return its var folder, without partial files."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli", *command.split()],
        cwd=ROOT,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None and process.stderr is not None
    if not any(line.startswith(f"… {stage}") for line in process.stdout):
        pytest.fail(f"stage {stage} was not reached: {process.stderr.read()[-2000:]}")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130, errors[-2000:]
    assert "Traceback" not in errors and "again to resume" in errors
    var = Path(environment["GROUNDSWELL_PATHS__VAR_DIR"])
    assert not list(var.rglob("*.tmp")), "no partial file"
    for made in (var / "data" / "raw").glob("*/"):
        assert (made / "key.json").is_file(), "every folder is complete"
    return var


@pytest.mark.integration
def test_ctrl_c_at_every_stage_leaves_no_partial_file_and_the_same_command_resumes(tmp_path, trained):
    new = {**os.environ, "GROUNDSWELL_PATHS__VAR_DIR": str(tmp_path / "var")}
    interrupt_at("Fetch", "export --with-upstream", new)
    assert list(interrupt_at("Train", "export --with-upstream", new).glob("data/splits/*")), "resumed, and came to the training"

    for folder in ("bundles", "export"):
        shutil.rmtree(trained.var / folder)
    interrupt_at("Export", "export --with-upstream", trained.environment)
    before = [path.stat().st_mtime_ns for path in sorted(trained.var.glob("candidates/*/key.json"))]
    done = groundswell("export", **trained.environment | {"GROUNDSWELL_TRAINING__SEED": "99"})
    assert done.returncode == 0 and "… Train" not in done.stdout and "… Fetch" not in done.stdout
    assert "Used as trained, though data or settings have changed since: minilm" in done.stdout
    assert [path.stat().st_mtime_ns for path in sorted(trained.var.glob("candidates/*/key.json"))] == before != []
