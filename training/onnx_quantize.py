# ONNX, ONNX Runtime and optimum have few annotations.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Quantization schemes as data, and the function that applies one to an ONNX model.

The comparison of the schemes and its results: docs/decisions/0002-int8-scheme.md.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.artifacts import atomic_file
from data.domains import DOMAINS
from data.errors import ModelError
from data.labels import LABELS
from data.names import unknown_name
from training.onnx_optimize import read_graph
from training.onnx_rowwise import Fixed, PerRow, matmuls, to_integer

if TYPE_CHECKING:
    import onnx

FIRST_TOKEN = "first_token"
"""Name of the node in `onnx_optimize` after which only the first token is computed."""

GELU_LOWEST = -0.17
"""The minimum of GELU is -0.16997."""

LEAST_REACH = 0.15
"""Least reach of a channel, as a share of that of the largest: a channel that was quiet in the calibration texts may not be."""

_OUTPUTS = {len(LABELS) * heads + sarcasm for heads in range(1, len(DOMAINS) + 2) for sarcasm in (0, 1)}
"""Columns of the last matrix: three for each head, and one for sarcasm."""

Batch = tuple[np.ndarray, np.ndarray]
"""`input_ids` and `attention_mask`, int64, shape (N, L)."""


@dataclass(frozen=True)
class Scheme:
    """One way to quantize."""

    name: str
    what: str
    calibrated: bool = False
    """Whether it needs calibration batches."""


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("int8_rowwise", "7-bit weights per column, 8-bit activations with one scale per token, computed at run time"),
        Scheme("int8_static", "7-bit weights per column, 8-bit activations with a calibrated scale per tensor", calibrated=True),
        Scheme("int8_channels", "as int8_static, with each channel divided by its own calibrated reach first", calibrated=True),
        Scheme("int8_weight_only", "8-bit weights in blocks of 32 (MatMulNBits, accuracy level 4)"),
        Scheme("int8_dynamic", "7-bit weights per column, 8-bit activations with one scale per batch, computed at run time"),
    )
}


def scheme_named(name: str) -> Scheme:
    """Return a scheme of `SCHEMES` by name.

    Raises:
        ModelError: The name is unknown.
    """
    if name not in SCHEMES:
        raise unknown_name(ModelError, "quantization scheme", name, SCHEMES)
    return SCHEMES[name]


def quantize(
    scheme: str, *, fp32_file: Path, optimized_file: Path, out_file: Path, calibration: Sequence[Batch] | None = None
) -> Path:
    """Quantize an exported model.

    Args:
        scheme: A key of `SCHEMES`.
        fp32_file: The output of `export_fp32`.
        optimized_file: The output of `optimize`.
        out_file: The quantized model; written atomically, an existing file is replaced.
        calibration: Batches of training texts, for schemes that are calibrated.

    Raises:
        ModelError: The scheme is unknown, needs calibration that was not given, or a file cannot be used.
    """
    chosen = scheme_named(scheme)
    if chosen.calibrated and not calibration:
        raise ModelError(f"The scheme {scheme} needs calibration texts.", found="none")
    if scheme == "int8_dynamic":
        return _dynamic(fp32_file, out_file)
    model = read_graph(optimized_file)
    if scheme == "int8_weight_only":
        model = _weight_only(model)
    else:
        inputs = _body_inputs(model)
        how: Mapping[str, PerRow | Fixed] = (
            {name: PerRow(GELU_LOWEST if gelu else None) for name, gelu in inputs.items()}
            if scheme == "int8_rowwise"
            else _calibrated(model, list(inputs), calibration or [], per_channel=scheme == "int8_channels")
        )
        if not to_integer(model, how):
            raise ModelError(f"{optimized_file} has no MatMul to quantize.", remedy="Optimize the export first.")
    _save(model, out_file)
    return out_file


def _save(model: "onnx.ModelProto", out_file: Path) -> None:
    import onnx

    with atomic_file(out_file, ModelError) as temporary:
        onnx.save(model, str(temporary))


def _body_inputs(model: "onnx.ModelProto") -> dict[str, bool]:
    """Return the inputs of the MatMuls to quantize, and whether each is the output of GELU.

    What is computed only for the first token stays float32: it costs almost nothing and has the largest effect on the logits.
    """
    producers = {output: node.op_type for node in model.graph.node for output in node.output}
    of_first_token: set[str] = set()
    for node in model.graph.node:  # in the order of computation
        if node.name == FIRST_TOKEN or of_first_token & set(node.input):
            of_first_token |= set(node.output)
    return {
        node.input[0]: producers.get(node.input[0], "") in {"BiasGelu", "Gelu", "FastGelu"}
        for node, matrix in matmuls(model)
        if matrix.shape[1] not in _OUTPUTS and node.input[0] not in of_first_token
    }


def _dynamic(fp32_file: Path, out_file: Path) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    read_graph(fp32_file)  # a clear error before the library's own
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it logs a line per node to the root logger
    with atomic_file(out_file, ModelError) as temporary:
        quantize_dynamic(
            str(fp32_file),
            str(temporary),
            per_channel=True,
            reduce_range=True,  # see onnx_rowwise: CPUs without VNNI saturate on 8 bits
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"],
            extra_options={"DefaultTensorType": 1},
        )
    root.setLevel(level)
    return out_file


def _weight_only(model: "onnx.ModelProto") -> "onnx.ModelProto":
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.WARNING)  # it logs a line per node
    config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=True, accuracy_level=4, bits=8)
    quantizer = MatMulNBitsQuantizer(model, algo_config=config)
    quantizer.process()
    assert quantizer.model is not None
    return quantizer.model.model  # type: ignore[union-attr]


def _calibrated(
    model: "onnx.ModelProto", inputs: Sequence[str], calibration: Sequence[Batch], *, per_channel: bool
) -> dict[str, Fixed]:
    """Return one scale per tensor from its lowest and highest value over the calibration texts, without padding.

    Args:
        model: An optimized graph.
        inputs: Tensors (N, L, K).
        calibration: Batches of training texts.
        per_channel: Whether the K channels of a tensor get the same reach first.
    """
    import onnx
    import onnxruntime as ort
    from onnx import helper

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {output.name for output in watched.graph.output}
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in inputs if name not in known)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    low: dict[str, np.ndarray] = {}
    high: dict[str, np.ndarray] = {}
    for input_ids, mask in calibration:
        values: list[Any] = list(session.run(list(inputs), {"input_ids": input_ids, "attention_mask": mask}))
        for name, value in zip(inputs, values, strict=True):
            real = value[mask.astype(bool)] if value.shape[:2] == mask.shape else value.reshape(-1, value.shape[-1])
            low[name] = np.minimum(low.get(name, 0.0), real.min(axis=0))
            high[name] = np.maximum(high.get(name, 0.0), real.max(axis=0))
    return {name: _fixed(low[name], high[name], per_channel=per_channel) for name in inputs}


def _fixed(low: np.ndarray, high: np.ndarray, *, per_channel: bool) -> Fixed:
    """Return the scale of a tensor from the lowest and highest value of its channels, each of shape (K,)."""
    channels = None
    if per_channel:
        reach = np.maximum(-low, high)
        channels = np.maximum(reach, max(LEAST_REACH * float(reach.max()), 1e-9)).astype(np.float32)
        low, high = low / channels, high / channels
    lowest, highest = float(low.min()), float(high.max())
    scale = max((highest - lowest) / 255, 1e-9)
    return Fixed(scale, round(-lowest / scale), channels)
