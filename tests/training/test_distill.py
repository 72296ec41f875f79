"""Students of a tiny teacher: soft labels are computed once, students learn from them, and their exports predict the same."""

import numpy as np
import pandas as pd
import pytest

from data.errors import TrainingFailed
from data.labels import LABEL_IDS, LABELS
from data.tokenization import encode, load_tokenizer, pad
from tests.make import labeled
from tests.models import some_texts, tiny_candidate, write_checkpoint
from training.checkpoints import base_model
from training.distill import TARGET, soft_labels, student_rows
from training.finetune import finetune
from training.onnx_export import export_fp32
from training.predictors import load_predictor
from training.settings import DistillationSettings, TrainingSettings

SHAPES = {"layer": {"layers": 1}, "table": {"table": {"width": 16, "buckets": 256}, "learning_rate": 2e-2, "batch_size": 8}}


class StubTeacher:
    """Gives each text probabilities by its length, and counts the texts that it is asked for."""

    name = "teacher"

    def __init__(self):
        self.asked = []

    def predict_proba(self, texts, *, domains=None):
        self.asked += texts
        proba = np.full((len(texts), 3), 0.1, dtype=np.float32)
        proba[np.arange(len(texts)), [len(text) % 3 for text in texts]] = 0.8
        return proba


def test_soft_labels_are_computed_once_for_a_text_and_in_the_order_of_the_texts(tmp_path):
    teacher = StubTeacher()
    texts = ["a", "bb", "ccc", "a", "dddd"]
    first = soft_labels(lambda: teacher, "key", texts, tmp_path)
    again = soft_labels(lambda: teacher, "key", ["ccc", "eeeee", "a"], tmp_path)
    assert first.argmax(axis=1).tolist() == [1, 2, 0, 1, 1] and again.argmax(axis=1).tolist() == [0, 2, 1]
    assert sorted(teacher.asked) == ["a", "bb", "ccc", "dddd", "eeeee"]
    assert soft_labels(lambda: teacher, "key", [], tmp_path).shape == (0, 3)


def test_soft_labels_of_another_teacher_are_its_own(tmp_path):
    one, other = StubTeacher(), StubTeacher()
    soft_labels(lambda: one, "one", ["a"], tmp_path)
    soft_labels(lambda: other, "other", ["a"], tmp_path)
    assert one.asked == other.asked == ["a"]


def test_killed_run_keeps_the_chunks_that_it_finished(tmp_path, monkeypatch):
    monkeypatch.setattr("training.distill.CHUNK", 2)

    class Dying(StubTeacher):
        def predict_proba(self, texts, *, domains=None):
            if len(self.asked) >= 4:
                raise KeyboardInterrupt
            return super().predict_proba(texts)

    texts = [f"text {n:02}" for n in range(9)]
    with pytest.raises(KeyboardInterrupt):
        soft_labels(Dying, "key", texts, tmp_path)
    teacher = StubTeacher()
    soft_labels(lambda: teacher, "key", texts, tmp_path)
    assert len(teacher.asked) == 5


def test_soft_labels_are_those_of_the_head_of_a_domain_where_the_teacher_has_heads(tmp_path):
    class Headed(StubTeacher):
        def predict_proba(self, texts, *, domains=None):
            both = zip(texts, domains, strict=True)
            return super().predict_proba([text + ("x" if domain == "finance" else "") for text, domain in both])

    teacher = Headed()
    asked = {"texts": ["a", "a", "bb"], "domains": ["finance", "news", "finance"]}
    for _ in range(2):
        found = soft_labels(lambda: teacher, "key", store=tmp_path, **asked)
        assert found.argmax(axis=1).tolist() == [2, 1, 0]
    assert len(teacher.asked) == 3, "computed once for a text and a domain"


def test_damaged_file_of_soft_labels_is_computed_again(tmp_path):
    soft_labels(StubTeacher, "key", ["a", "bb"], tmp_path)
    for path in tmp_path.rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:40])
    teacher = StubTeacher()
    assert soft_labels(lambda: teacher, "key", ["a", "bb"], tmp_path).argmax(axis=1).tolist() == [1, 2]
    assert sorted(teacher.asked) == ["a", "bb"]


def rows(*entries):
    return pd.DataFrame(entries, columns=["text", "label", "source"])


def test_target_mixes_gold_only_where_the_dataset_counts():
    frame = rows(("a", "negative", "ours"), ("b", "positive", "theirs"), ("c", None, "ours"), ("d", "positive", "ours"))
    soft = np.tile(np.array([0.2, 0.3, 0.5], dtype=np.float32), (4, 1))
    settings = DistillationSettings.load(temperature=1.0, gold=0.5)
    target = np.stack(student_rows(frame, soft, ["ours"], settings)[TARGET].tolist())
    gold = 2 / 3  # the weight of each of two classes that have one row each, of three classes
    np.testing.assert_allclose(target[0], [0.1 + gold / 2, 0.15, 0.25], atol=1e-6)
    np.testing.assert_allclose(target[1:3], soft[1:3], atol=1e-6)
    np.testing.assert_allclose(target[3], [0.1, 0.15, 0.25 + gold / 2], atol=1e-6)


def test_temperature_softens_and_keeps_the_order():
    soft = np.array([[0.9, 0.08, 0.02]], dtype=np.float32)
    settings = DistillationSettings.load(temperature=2.0, gold=0.0)
    target = student_rows(rows(("a", None, "x")), soft, [], settings)[TARGET][0]
    assert target.sum() == pytest.approx(1) and 0.9 > target[0] > target[1] > target[2] > 0.02


def test_no_texts_are_an_error():
    with pytest.raises(TrainingFailed, match="no texts"):
        student_rows(rows(), np.empty((0, 3)), [], DistillationSettings.load())


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("base"))


def test_student_keeps_the_first_layers_of_its_base_model(base):
    whole, _ = base_model(tiny_candidate(base))
    student, _ = base_model(tiny_candidate(base, kind="student", layers=1))
    assert student.config.num_hidden_layers == len(student.bert.encoder.layer) == 1
    first = whole.bert.encoder.layer[0].output.dense.weight
    assert (student.bert.encoder.layer[0].output.dense.weight == first).all()


@pytest.mark.integration
@pytest.mark.parametrize("shape", SHAPES)
def test_student_learns_the_teacher_and_its_export_predicts_the_same(shape, base, tmp_path):
    import onnxruntime as ort

    frame = labeled(60)
    train, val, test = (frame[frame["split"] == split].reset_index(drop=True) for split in ("train", "val", "test"))
    soft = np.eye(3, dtype=np.float32)[train["label"].map(LABEL_IDS)] * 0.7 + 0.1
    learned = student_rows(train.assign(label=None), soft, [], DistillationSettings.load())
    student = tiny_candidate(base, kind="student", **SHAPES[shape])
    trained = finetune(student, learned, val, tmp_path / "student", TrainingSettings.load(evaluations=2, bf16=False, seed=3))
    assert trained.rows == len(train)
    proba = load_predictor(student, tmp_path / "student").predict_proba(test["text"].tolist())
    assert (proba.argmax(axis=1) == test["label"].map(LABEL_IDS)).mean() > 0.9

    checkpoint = tmp_path / "student" / "checkpoint"
    session = ort.InferenceSession(str(export_fp32(checkpoint, tmp_path / "model.onnx")))
    tokenizer = load_tokenizer(checkpoint / "tokenizer.json", max_length=32)
    texts = some_texts(20)
    ids, mask = pad(encode(tokenizer, texts), 0)
    logits = np.asarray(session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0])
    assert logits.shape == (20, len(LABELS))
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = load_predictor(student, tmp_path / "student").predict_proba(texts)
    np.testing.assert_allclose(exponent / exponent.sum(axis=1, keepdims=True), expected, atol=1e-5)
    short = ids[:1, : int(mask[0].sum())]
    np.testing.assert_allclose(
        np.asarray(session.run(["logits"], {"input_ids": short, "attention_mask": np.ones_like(short)})[0]), logits[:1], atol=1e-4
    )
