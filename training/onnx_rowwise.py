# ONNX, ONNX Runtime and optimum have few annotations.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Replace MatMuls with constant weights in a graph by 8-bit integer MatMuls.

A MatMul `x @ w` of x (N, L, K) float32 and constant w (K, M) becomes, with one scale per column of w and, for x, either one
scale per row (token), computed at run time, or one fixed scale:

    scale = max(max(|x|, axis=K) / 127, floor)           per row only; fixed otherwise
    q     = QuantizeLinear(x * 1 / scale) + zero_point   uint8
    y     = MatMulIntegerToFloat(q, w8) [* scale]

Neither uses other rows, so the prediction for a text does not depend on its batch mates. uint8 times int8 is the kernel that
CPUs with VNNI run natively. x86 CPUs without it add pairs of products in 16 bits, which saturates above 32,767: weights of at
most 64 keep a pair within 2 * 255 * 64 = 32,640, so that every CPU computes the same integers.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

MICROSOFT = "com.microsoft"
LARGEST = 64
"""Of a weight, in steps: 7 bits, so that no CPU saturates."""
_TINY = 1e-9  # a row of zeros must not divide by zero

Weights = tuple[np.ndarray, np.ndarray]
"""Int8 values (K, M) and one float32 scale per column (M,)."""


@dataclass(frozen=True)
class PerRow:
    """One scale per row, computed at run time.

    Args:
        lowest: The minimum of `x`, such as -0.17 after GELU; None where `x` is symmetric. With a minimum, almost the whole
            8-bit range is used for positive values.
    """

    lowest: float | None = None


@dataclass(frozen=True)
class Fixed:
    """One scale for all rows, from calibration; values outside are clipped.

    Args:
        scale: Width of one step, greater than 0.
        zero_point: The uint8 that represents 0.
        channels: Divisors of the columns of `x`, float32, shape (K,), by which the rows of the weights are multiplied. They
            give every column the same reach, so that one scale fits all of them. None: 1.
    """

    scale: float
    zero_point: int
    channels: np.ndarray | None = None


def matmuls(model: "onnx.ModelProto") -> Iterator[tuple["onnx.NodeProto", np.ndarray]]:
    """Yield every MatMul whose second input is a constant matrix, with the matrix (K, M)."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in constants and len(constants[node.input[1]].dims) == 2:
            yield node, numpy_helper.to_array(constants[node.input[1]])


def quantize_weights(weights: np.ndarray) -> Weights:
    """Round a matrix (K, M) to int8 in -64..64, one scale per column, the largest value of a column at 64."""
    scale = np.maximum(np.abs(weights).max(axis=0) / LARGEST, _TINY).astype(np.float32)
    return np.clip(np.rint(weights / scale), -LARGEST, LARGEST).astype(np.int8), scale


def to_integer(
    model: "onnx.ModelProto",
    activations: Mapping[str, PerRow | Fixed],
    weights: Callable[[str, np.ndarray], Weights] = lambda _, matrix: quantize_weights(matrix),
) -> int:
    """Replace MatMuls, in place.

    Args:
        model: A graph from `onnx_optimize.optimize`.
        activations: How to quantize each input tensor, by name. MatMuls of other tensors stay float32.
        weights: From tensor name and matrix (K, M) to int8 weights.

    Returns:
        The number of replaced MatMuls.
    """
    from onnx import helper

    graph, replaced = model.graph, 0
    nodes: list[onnx.NodeProto] = []
    done: set[str] = set()
    chosen = {node.output[0]: matrix for node, matrix in matmuls(model) if node.input[0] in activations}
    for node in graph.node:
        if node.op_type != "MatMul" or node.output[0] not in chosen:
            nodes.append(node)
            continue
        x, (y,) = node.input[0], node.output
        if x not in done:  # queries, keys and values share one quantized input
            nodes += _quantize_input(graph, x, activations[x])
            done.add(x)
        how, matrix = activations[x], chosen[y]
        per_row = isinstance(how, PerRow)
        if not per_row and how.channels is not None:
            matrix = matrix * how.channels[:, np.newaxis]
        values, scale = weights(x, matrix)
        weight = node.input[1]
        _constant(graph, f"{weight}_int8", values)
        _constant(graph, f"{weight}_scale", scale.astype(np.float32))
        product = f"{y}_unscaled" if per_row else y
        nodes.append(
            helper.make_node(
                "MatMulIntegerToFloat",
                [f"{x}_uint8", f"{weight}_int8", f"{x}_step", f"{weight}_scale", f"{x}_zero"],
                [product],
                name=f"{y}_integer",
                domain=MICROSOFT,
            )
        )
        if per_row:
            nodes.append(helper.make_node("Mul", [product, f"{x}_scale"], [y], name=f"{y}_rescale"))
        replaced += 1
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(graph)
    if all(opset.domain != MICROSOFT for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return replaced


def _quantize_input(graph: "onnx.GraphProto", x: str, how: PerRow | Fixed) -> "list[onnx.NodeProto]":
    """Return the nodes that compute `{x}_uint8`, and per row `{x}_scale` (N, L, 1); constants `{x}_step` and `{x}_zero`."""
    from onnx import helper

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> "onnx.NodeProto":
        return helper.make_node(op, inputs, [output], name=f"{output}_node", **attributes)

    if isinstance(how, Fixed):
        _constant(graph, f"{x}_step", np.float32(how.scale))
        _constant(graph, f"{x}_zero", np.uint8(how.zero_point))
        if how.channels is None:
            return [node("QuantizeLinear", [x, f"{x}_step", f"{x}_zero"], f"{x}_uint8")]
        _constant(graph, f"{x}_per_channel", (1 / how.channels).astype(np.float32))
        return [
            node("Mul", [x, f"{x}_per_channel"], f"{x}_even"),
            node("QuantizeLinear", [f"{x}_even", f"{x}_step", f"{x}_zero"], f"{x}_uint8"),
        ]
    # With `lowest`, 0 is at 12 of 255, and the scale has a floor so that `lowest` does not fall below 0.
    zero = 128 if how.lowest is None else 12
    floor = _TINY if how.lowest is None else max(-how.lowest / zero, _TINY)
    _constant(graph, f"{x}_step", np.float32(1))
    _constant(graph, f"{x}_zero", np.uint8(zero))
    _constant(graph, f"{x}_per_step", np.float32(1 / (255 - zero)))
    _constant(graph, f"{x}_floor", np.float32(floor))
    magnitude = [] if how.lowest is not None else [node("Abs", [x], f"{x}_abs")]
    return [
        *magnitude,
        node("ReduceMax", [f"{x}_abs" if magnitude else x], f"{x}_largest", axes=[-1], keepdims=1),
        node("Mul", [f"{x}_largest", f"{x}_per_step"], f"{x}_fine"),
        node("Max", [f"{x}_fine", f"{x}_floor"], f"{x}_scale"),
        node("Reciprocal", [f"{x}_scale"], f"{x}_inverse"),
        node("Mul", [x, f"{x}_inverse"], f"{x}_steps"),
        node("QuantizeLinear", [f"{x}_steps", f"{x}_step", f"{x}_zero"], f"{x}_uint8"),
    ]


def _constant(graph: "onnx.GraphProto", name: str, value: np.ndarray | np.generic) -> None:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def _drop_unused(graph: "onnx.GraphProto") -> None:
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
