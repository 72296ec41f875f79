import json

import pytest

from data.errors import BundleError
from serving.bundle import alias_bundle, read_bundle
from tests.models import tiny_bundle


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "bundle"


def test_written_and_read_back(folder):
    written = tiny_bundle(folder, temperature=1.5)
    read = read_bundle(folder)
    assert read.manifest == written.manifest
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.json", "card.md", "model.onnx", "tokenizer.json"]
    assert read.manifest.version == f"tiny-{read.fingerprint[:12]}"


def test_version_depends_only_on_the_predictions(tmp_path):
    one = tiny_bundle(tmp_path / "a")
    same = tiny_bundle(tmp_path / "b", metrics={"other": 1}, parent_run="another")
    other = tiny_bundle(tmp_path / "c", strength=3.0)
    warmer = tiny_bundle(tmp_path / "d", temperature=2.0)
    assert one.manifest.version == same.manifest.version
    assert len({one.fingerprint, other.fingerprint, warmer.fingerprint}) == 3


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json", "card.md"])
def test_changed_byte_is_refused_with_both_checksums(file, folder):
    tiny_bundle(folder)
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(BundleError, match="not the file that was written") as caught:
        read_bundle(folder)
    assert len(str(caught.value.found)) == len(str(caught.value.expected)) == 64


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda raw: raw | {"format_version": 9}, "unsupported format_version"),
        (lambda raw: raw | {"labels": ["bad", "good"]}, "unsupported labels"),
        (lambda raw: raw | {"cleaning_version": "1"}, r"unsupported cleaning_version[\s\S]*train it again"),
        (lambda raw: raw | {"tokenizer_version": "2"}, r"unsupported tokenizer_version[\s\S]*train it again"),
        (lambda raw: raw | {"temperature": -1}, "temperature"),
        (lambda raw: raw | {"surprise": 1}, "surprise"),
        (lambda raw: {k: v for k, v in raw.items() if k != "version"}, "version"),
        (lambda raw: [1], "not a bundle"),
    ],
)
def test_unsupported_bundle_is_refused_by_field(corrupt, message, folder):
    tiny_bundle(folder)
    path = folder / "bundle.json"
    path.write_text(json.dumps(corrupt(json.loads(path.read_text()))))
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


def test_missing_files_are_named(folder):
    with pytest.raises(BundleError, match="groundswell export"):
        read_bundle(folder)
    tiny_bundle(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"lacks model\.onnx"):
        read_bundle(folder)
    (folder / "bundle.json").write_bytes(b"\xff{")
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(folder)


def test_alias_without_a_bundle_raises_with_a_remedy(tmp_path):
    with pytest.raises(BundleError, match="make demo"):
        alias_bundle(tmp_path, "production")


def test_failed_write_keeps_the_old_bundle(folder, tmp_path, monkeypatch):
    import serving.bundle

    old = tiny_bundle(folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(serving.bundle.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space"):
        tiny_bundle(folder, strength=5.0)
    assert read_bundle(folder).fingerprint == old.fingerprint
    assert not list(tmp_path.glob(".*"))
