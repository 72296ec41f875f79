import pytest

from data.artifacts import atomic_file, atomic_folder, is_current, mark_current, reuse_or_build, write_json
from data.errors import GroundswellError, ModelError


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_atomic_folder_is_complete_or_absent(tmp_path):
    target = tmp_path / "thing"
    with pytest.raises(KeyboardInterrupt), atomic_folder(target) as folder:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt
    assert files(tmp_path) == []
    with atomic_folder(target) as folder:
        (folder / "file").write_text("one")
    with pytest.raises(ValueError, match="two"), atomic_folder(target) as folder:
        (folder / "file").write_text("two")
        raise ValueError("two")
    assert (target / "file").read_text() == "one"
    assert files(tmp_path) == ["thing"]


def test_reuse_or_build_rebuilds_only_when_the_key_changes(tmp_path):
    built = []

    def build(folder):
        built.append(1)
        write_json(folder / "value.json", len(built))

    assert not reuse_or_build(tmp_path / "t", {"a": 1, "b": 2}, build)
    assert reuse_or_build(tmp_path / "t", {"b": 2, "a": 1}, build)
    assert not reuse_or_build(tmp_path / "t", {"a": 1, "b": 3}, build)
    assert len(built) == 2


def test_a_corrupt_key_counts_as_absent(tmp_path):
    mark_current(tmp_path, {"a": 1})
    assert is_current(tmp_path, {"a": 1})
    (tmp_path / "key.json").write_text("{")
    assert not is_current(tmp_path, {"a": 1})


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "dir").mkdir()
    with pytest.raises(GroundswellError, match="cannot be written"):
        write_json(tmp_path / "dir", 1)
    with pytest.raises(GroundswellError, match="cannot be written"):
        write_json(tmp_path / "file" / "value.json", 1)
    with pytest.raises(GroundswellError, match="Free disk space"), atomic_folder(tmp_path / "file" / "target"):
        pass
    assert files(tmp_path) == ["dir", "file"]


def test_atomic_file_is_complete_or_absent_and_leaves_no_second_file(tmp_path):
    target = tmp_path / "new" / "model[1].onnx"
    with pytest.raises(KeyboardInterrupt), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(target.parent.iterdir()) == []
    with atomic_file(target) as temporary:
        temporary.write_text("whole")
        temporary.with_name(f"{temporary.name}.data").write_text("weights that were merged")
    assert [path.name for path in target.parent.iterdir()] == [target.name] and target.read_text() == "whole"
    with pytest.raises(ModelError, match="Free disk space"), atomic_file(target / "below", ModelError):
        pass
