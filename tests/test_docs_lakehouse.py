"""docs/lakehouse.md: commands in `sh` blocks run in order; all others are checked against their parsers."""

import json
import os
import re
import shlex
import subprocess
from datetime import UTC, datetime

import pytest
import typer

from data.raw_tweets import REASONS, write_raw_tweets
from data.settings import CostSettings
from data.settings_registry import settings_classes
from orchestration.cli.main import app
from orchestration.definitions import defs
from serving.lakehouse import job
from serving.lakehouse.tables import COLUMNS
from tests.make import text_of
from tests.models import tiny_bundle
from tests.serving.lakehouse_harness import QUICK
from tests.test_readme import ROOT
from tests.trained import BIN

PAGE = (ROOT / "docs" / "lakehouse.md").read_text(encoding="utf-8")
RUN = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
SHOWN = re.findall(r"```\n(.*?)```", re.sub(r"```sh\n.*?```", "", PAGE, flags=re.DOTALL), flags=re.DOTALL)


def commands(blocks: list[str]) -> list[list[str]]:
    """The words of each command, without comments."""
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.mark.lakehouse
def test_documented_commands_build_tables_and_views(tmp_path):
    texts = [(text_of(label, n), label) for n in range(100) for label in ("negative", "neutral", "positive")]
    start = datetime(2026, 1, 15, 6, tzinfo=UTC)
    expected = write_raw_tweets(tmp_path / "raw", texts, count=300, files=3, start=start)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GROUNDSWELL_")} | {
        "GROUNDSWELL_PATHS__VAR_DIR": str(tmp_path / "var"),
        "GROUNDSWELL_LAKEHOUSE__SPARK": json.dumps(QUICK),
        "GROUNDSWELL_BUNDLE_DIR": str(tiny_bundle(tmp_path / "tiny").directory),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "COLUMNS": "150",
    }
    output = {}
    for words in commands(RUN):
        ran = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert ran.returncode == 0 and "Traceback" not in ran.stderr, f"{words}\n{(ran.stdout + ran.stderr)[-3000:]}"
        output[words[2]] = ran.stdout
    assert list(output) == ["run", "status", "views"]
    assert "every record is accounted for" in output["status"] and f"{expected.silver:,}" in output["status"]
    assert len(list((tmp_path / "plots").iterdir())) >= 3
    assert (tmp_path / "var" / "lakehouse" / "gold" / "event_date=2026-01-15").is_dir()


def options(*names: str) -> set[str]:
    """The options of a command of `groundswell`, or of all commands of a group."""
    command = typer.main.get_command(app)
    for name in names:
        command = getattr(command, "commands", {}).get(name)
        assert command is not None, names
    ones = getattr(command, "commands", {"": command}).values()
    return {option for one in ones for parameter in one.params for option in parameter.opts}


def test_every_other_command_exists_and_accepts_its_options():
    inline = commands([code for code in re.findall(r"`([^`\n]+)`", PAGE) if code.startswith("groundswell ")])
    shown = [words for words in commands(SHOWN) if words[0] == "groundswell"]
    assert len(shown) >= 8
    for words in shown + inline:
        name = words[1 : 3 if words[1] == "lakehouse" else 2]
        assert {word for word in words if word.startswith("--")} <= options(*name), words


def test_options_in_the_text_belong_to_the_lakehouse():
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL).split("## On a cluster")[0]
    named = {word for code in re.findall(r"`([^`\n]+)`", prose) for word in code.split() if word.startswith("--")}
    assert {"--once", "--every", "--classify-with", "--source"} <= named <= options("lakehouse")


def test_submitted_job_accepts_its_arguments_and_uses_the_packages_of_the_pom():
    (submit,) = [words for words in commands(SHOWN) if words[0] == "spark-submit"]
    at = submit.index("serving/lakehouse/job.py")
    asked = job.parser().parse_args(submit[at + 1 :])
    assert asked.command == "run" and asked.every == 60 and asked.bundle.startswith("s3a://")
    pom = (ROOT / "serving" / "lakehouse" / "pom.xml").read_text(encoding="utf-8")
    for name, version in re.findall(r"<([\w.]+\.version)>([^<]+)<", pom):
        pom = pom.replace(f"${{{name}}}", version)
    pattern = r"<dependency><groupId>([^<]+)</groupId><artifactId>([^<]+)</artifactId><version>([^<]+)</version>"
    wanted = {":".join(found) for found in re.findall(pattern, pom)}
    packages = set(submit[submit.index("--packages") + 1].split(","))
    assert packages <= wanted
    assert {one.split(":")[1].split("_")[0] for one in packages} == {"delta-spark", "spark-sql-kafka-0-10", "hadoop-aws"}


def test_tables_columns_and_reasons_are_named():
    rows = dict(re.findall(r"^\| `(bronze|silver|silver_rejected|gold)` \| (.*) \|$", PAGE, flags=re.MULTILINE))
    named = {layer: set(re.findall(r"`(\w+)`", row)) for layer, row in rows.items()}
    named["gold"] |= named["silver"] - {"cleaned"}
    for layer, columns in COLUMNS.items():
        have = set(re.findall(r"(?:^|, )(\w+) (?:STRING|BINARY|MAP|INT|BIGINT|TIMESTAMP|DATE|ARRAY|STRUCT|DOUBLE)", columns))
        assert named[layer] >= have, layer
    reasons = set(re.findall(r"`([\w ]+)`", PAGE.split("| reason | |")[1].split("**Which copy wins")[0]))
    assert set(REASONS.values()) | {"duplicate", "superseded"} <= reasons


def test_settings_assets_and_files_in_the_text_exist():
    sections = {one.section: one for one in settings_classes()}
    for section, field in re.findall(r"GROUNDSWELL_([A-Z]+)__([A-Z_]+)", PAGE):
        assert field.lower() in sections[section.lower()].model_fields, field
    names = set(re.findall(r"`(lakehouse/\w+)`", PAGE))
    assert len(names) == 6 and names <= {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{target}:" in targets for target in re.findall(r"`make ([\w-]+)`", PAGE))


def test_the_price_of_a_year():
    hours = 365e6 / 200 / 3600
    price = CostSettings.model_fields["cpu_hour_usd"].default
    for words in (f"{hours:.0f} hours", f"{hours / 32:.0f} hours", f"${price}", f"{hours:.0f} × ${price} = ${hours * price:.0f}"):
        assert words in PAGE, words
