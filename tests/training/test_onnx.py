"""Export, fusion and quantization of tiny checkpoints of all three architectures, run in ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from data.errors import ModelError
from data.tokenization import encode, load_tokenizer, pad, pad_id
from tests.models import some_texts, write_checkpoint
from training.onnx_export import export_fp32
from training.onnx_optimize import optimize
from training.onnx_quantize import SCHEMES, quantize
from training.onnx_rowwise import Fixed, quantize_weights, to_integer

pytestmark = pytest.mark.integration
LABELS_BY_INDEX = {0: "positive", 1: "negative", 2: "neutral"}  # not our order: the export reorders it


@pytest.fixture(scope="module", params=["bert", "distilbert", "roberta"])
def forms(request, tmp_path_factory):
    """Checkpoint, ONNX and optimized ONNX of one architecture."""
    folder = tmp_path_factory.mktemp(request.param)
    checkpoint = write_checkpoint(folder / "checkpoint", architecture=request.param, labels=LABELS_BY_INDEX)
    fp32 = export_fp32(checkpoint, folder / "fp32.onnx")
    return checkpoint, fp32, optimize(fp32, folder / "optimized.onnx")


def batches(checkpoint, size=32):
    tokenizer = load_tokenizer(checkpoint / "tokenizer.json", max_length=32)
    rows = encode(tokenizer, some_texts())
    return [pad(rows[start : start + size], pad_id(tokenizer)) for start in range(0, len(rows), size)]


def run(file, found):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    assert {one.name for one in session.get_inputs()} == {"input_ids", "attention_mask"}
    return np.concatenate([session.run(["logits"], {"input_ids": i, "attention_mask": m})[0] for i, m in found])


def torch_logits(checkpoint, found):
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(str(checkpoint)).eval()
    with torch.inference_mode():
        parts = [model(input_ids=torch.from_numpy(i), attention_mask=torch.from_numpy(m)).logits.numpy() for i, m in found]
    return np.concatenate(parts)[:, [1, 2, 0]]  # to negative, neutral, positive


def test_float32_variants_predict_what_torch_does_in_label_order(forms):
    checkpoint, fp32, optimized = forms
    found = batches(checkpoint)
    expected = torch_logits(checkpoint, found)
    for file in (fp32, optimized):
        np.testing.assert_allclose(run(file, found), expected, atol=2e-4)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_near_float32_and_smaller(scheme, forms, tmp_path):
    checkpoint, fp32, optimized = forms
    found = batches(checkpoint)
    out = quantize(scheme, fp32_file=fp32, optimized_file=optimized, out_file=tmp_path / "q.onnx", calibration=found)
    expected, logits = run(fp32, found), run(out, found)
    spread = expected.std()
    assert np.abs(logits - expected).mean() < 0.15 * spread
    assert np.abs(logits - expected).max() > 0, "not quantized"
    ops = {node.op_type for node in onnx.load(str(out)).graph.node}
    assert ops & {"MatMulIntegerToFloat", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulNBits"}, ops


@pytest.mark.parametrize("scheme", ["int8_rowwise", "int8_static", "int8_channels", "int8_weight_only"])
def test_predictions_do_not_depend_on_batch_mates(scheme, forms, tmp_path):
    """Alone, in a batch, and padded to the longest: the same numbers except for the order of additions."""
    checkpoint, fp32, optimized = forms
    found = batches(checkpoint)
    out = quantize(scheme, fp32_file=fp32, optimized_file=optimized, out_file=tmp_path / "q.onnx", calibration=found)
    together = run(out, found)
    alone = run(out, batches(checkpoint, size=1))
    np.testing.assert_allclose(alone, together, atol=1e-3 * max(1.0, np.abs(together).max()))


def test_a_calibrated_scheme_requires_texts(forms, tmp_path):
    _, fp32, optimized = forms
    with pytest.raises(ModelError, match="needs calibration"):
        quantize("int8_static", fp32_file=fp32, optimized_file=optimized, out_file=tmp_path / "q.onnx")
    assert not list(tmp_path.iterdir())


def test_unknown_schemes_and_corrupt_models_are_named(forms, tmp_path):
    _, fp32, optimized = forms
    with pytest.raises(ModelError, match="Did you mean 'int8_rowwise'"):
        quantize("int8_rowise", fp32_file=fp32, optimized_file=optimized, out_file=tmp_path / "q.onnx")
    (tmp_path / "cut.onnx").write_bytes(optimized.read_bytes()[:2000])
    with pytest.raises(ModelError):
        quantize("int8_rowwise", fp32_file=fp32, optimized_file=tmp_path / "cut.onnx", out_file=tmp_path / "q.onnx")
    with pytest.raises(ModelError):
        optimize(tmp_path / "cut.onnx", tmp_path / "o.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["cut.onnx"], "no incomplete file"


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ModelError):
        export_fp32(tmp_path / "nowhere", tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_weights_are_rounded_to_within_half_a_step():
    weights = np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32) * np.logspace(-3, 3, 16, dtype=np.float32)
    values, scale = quantize_weights(weights)
    assert values.dtype == np.int8 and np.abs(values).max() == 64
    assert (np.abs(values * scale - weights) <= scale / 2 * 1.0001).all()


def test_integer_products_are_exact_on_this_cpu_even_for_the_largest_values():
    """CPUs without VNNI add pairs of products in 16 bits; weights of 7 bits never exceed them."""
    from onnx import TensorProto, helper, numpy_helper

    rows, inner, columns = 5, 96, 7
    weights = np.where(np.arange(inner * columns).reshape(inner, columns) % 5, 1.0, -1.0).astype(np.float32)
    x = (255 - np.arange(rows * inner) % 9).astype(np.float32).reshape(1, rows, inner)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, rows, inner])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, rows, columns])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    assert to_integer(model, {"x": Fixed(1.0, 0)}) == 1
    (found,) = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    values, scale = quantize_weights(weights)
    np.testing.assert_allclose(found, (x.astype(np.int64) @ values.astype(np.int64)) * scale, rtol=1e-6)
