"""The hub path against a stub on this machine: pinned revisions, a broken download, an absent repository.

Each case runs in a process of its own, since the hub library reads its address when it is imported.
"""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.hub_stub import COMMIT, Hub, hub_environment
from tests.make import rows
from tests.models import write_checkpoint

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]

_MODEL = """
import json, sys
from training.candidates import load_candidates
from training.checkpoints import base_model
from data.errors import GroundswellError
entry = {"kind": "transformer", "title": "T", "license": "x", "hub": sys.argv[1], "revision": sys.argv[2]}
try:
    model, tokenizer = base_model(load_candidates({"tiny": entry})["tiny"])
    print(json.dumps({"hidden": model.config.hidden_size, "labels": model.config.num_labels, "tokenizer": tokenizer.is_file()}))
except GroundswellError as error:
    print(json.dumps({"error": type(error).__name__, "text": str(error)}))
"""

_DATA = """
import json, sys
from pathlib import Path
import pandas as pd
from data.catalog import load_catalog
from data.errors import GroundswellError
from data.settings import DataSettings
from data.sources import fetch
hub = json.loads(sys.argv[1])
entry = {"domain": "tweets", "license": "x", "hub": hub, "label_mapping": {"0": "negative", "1": "neutral", "2": "positive"}}
try:
    found = fetch(load_catalog({"mine": entry})["mine"], DataSettings.load(origin="hub"), Path(sys.argv[2]))
    frame = pd.read_parquet(found.path)
    print(json.dumps({"origin": found.origin, "rows": len(frame), "labels": sorted(frame["label"].unique()),
                      "splits": frame["split"].value_counts().to_dict(), "digest": found.fingerprint}))
except GroundswellError as error:
    print(json.dumps({"error": type(error).__name__, "text": str(error)}))
"""


@pytest.fixture
def hub(tmp_path):
    with Hub(tmp_path / "hub") as server:
        yield server


def run_program(code, hub_url, home, *arguments):
    environment = hub_environment(hub_url, home) | {"GROUNDSWELL_PROFILE": "hub"}
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.strip().splitlines()[-1])


def test_a_model_is_fetched_at_its_pinned_revision_and_a_broken_download_resumes(hub, tmp_path):
    folder = write_checkpoint(hub.root / "models" / "who" / "tiny")
    block = 10 * 2**20  # the hub library writes blocks of this size
    (folder / "ballast.safetensors").write_bytes(bytes(2 * block))
    hub.break_once["ballast.safetensors"] = block + 1000
    found = run_program(_MODEL, hub.url, tmp_path / "home", "who/tiny", COMMIT)
    assert found == {"hidden": 32, "labels": 3, "tokenizer": True}
    ranges = [r for method, path, r in hub.requests if method == "GET" and path.endswith("ballast.safetensors")]
    assert len(ranges) == 2 and ranges[1] == f"bytes={block}-", "the second request is for the rest only"
    assert all(f"/{COMMIT}/" in path for _, path, _ in hub.requests if "/resolve/" in path)


@pytest.mark.parametrize(
    ("repo", "revision", "message"),
    [("who/absent", COMMIT, "there is no who/absent"), ("who/tiny", "f" * 40, "could not be fetched")],
)
def test_an_absent_repository_or_revision_is_reported(repo, revision, message, hub, tmp_path):
    write_checkpoint(hub.root / "models" / "who" / "tiny")
    found = run_program(_MODEL, hub.url, tmp_path / "home", repo, revision)
    assert found["error"] == "CandidateUnavailable" and message in found["text"]


def test_an_unreachable_hub_is_reported(tmp_path):
    found = run_program(_MODEL, "http://127.0.0.1:9", tmp_path / "home", "who/tiny", COMMIT)
    assert found["error"] == "CandidateUnavailable"
    assert "Check the network and HF_ENDPOINT" in found["text"]


def write_dataset(hub):
    folder = hub.root / "datasets" / "who" / "texts" / "data"
    folder.mkdir(parents=True)
    frame = pd.DataFrame(rows())
    frame["label"] = frame["label"].map({"negative": 0, "neutral": 1, "positive": 2})
    for ours, theirs in (("train", "train"), ("val", "validation"), ("test", "test")):
        part = frame.loc[frame["split"] == ours, ["text", "label"]]
        part.to_parquet(folder / f"{theirs}-00000-of-00001.parquet", index=False)


def test_a_dataset_is_fetched_at_its_pinned_revision(hub, tmp_path):
    write_dataset(hub)
    found = run_program(_DATA, hub.url, tmp_path / "home", json.dumps({"id": "who/texts", "revision": COMMIT}), tmp_path / "raw")
    assert (found["origin"], found["rows"], found["labels"]) == ("hub", 90, ["negative", "neutral", "positive"])
    assert found["splits"] == {"train": 63, "test": 18, "val": 9}
    before = len(hub.requests)
    assert (
        run_program(_DATA, hub.url, tmp_path / "home", json.dumps({"id": "who/texts", "revision": COMMIT}), tmp_path / "raw")
        == found
    )
    assert len(hub.requests) == before, "an unchanged revision is not requested again"


def test_only_the_named_file_is_fetched_and_sampled_with_a_seed(hub, tmp_path):
    write_dataset(hub)
    mapping = {
        "id": "who/texts",
        "revision": COMMIT,
        "splits": {"test": "test"},
        "max_rows": 10,
        "files": {"test": "data/test-00000-of-00001.parquet"},
    }
    found = [run_program(_DATA, hub.url, tmp_path / f"home-{n}", json.dumps(mapping), tmp_path / f"raw-{n}") for n in "ab"]
    assert found[0]["splits"] == {"test": 10} and found[0] == found[1]
    files = {Path(path).name for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path}
    assert {name for name in files if name.endswith(".parquet")} == {"test-00000-of-00001.parquet"}


def test_an_absent_dataset_is_reported(hub, tmp_path):
    found = run_program(
        _DATA, hub.url, tmp_path / "home", json.dumps({"id": "who/nothing", "revision": COMMIT}), tmp_path / "raw"
    )
    assert found["error"] == "SourceUnavailable" and "there is no who/nothing" in found["text"]
    assert not (tmp_path / "raw" / "mine").exists()
