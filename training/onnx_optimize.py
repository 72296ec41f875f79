# ONNX, ONNX Runtime and optimum have few annotations.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Float32 fusions: fewer, larger operators with the same predictions.

Two steps, each exact up to float32 rounding: the fusions of `onnxruntime.transformers` (embedding, attention, GELU,
LayerNorm with its residual), with the projections left as MatMuls so that they can be quantized one by one; and, since
a classifier reads only the first token, the last layer is computed for that token only.
"""

import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from data.artifacts import atomic_file
from data.errors import ModelError

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)

# Operators allowed between the last attention and the selection of the first token: they work on each row (token) alone.
_PER_TOKEN = {
    "MatMul",
    "Add",
    "Mul",
    "Div",
    "Erf",
    "Relu",
    "Tanh",
    "Gelu",
    "FastGelu",
    "BiasGelu",
    "QuickGelu",
    "LayerNormalization",
    "SkipLayerNormalization",
}


def optimize(fp32_file: Path, out_file: Path) -> Path:
    """Fuse a float32 export.

    Args:
        fp32_file: The output of `export_fp32`.
        out_file: The optimized ONNX file, same inputs and output; an existing file is replaced. Padding must follow the
            text: the fused attention reads the mask as lengths.

    Returns:
        `out_file`.

    Raises:
        ModelError: The file is missing or corrupt.
    """
    import onnx
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    read_graph(fp32_file)  # a clear error before the optimizer's own
    options = FusionOptions("bert")
    options.use_multi_head_attention = True
    for name in ("onnxruntime.transformers", "fusion_base", "onnx_model", "onnx_model_bert", "optimizer"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Heads and width 0: read from the graph. Level 0: no machine-specific optimization of ONNX Runtime is stored in the file.
    fused = optimizer.optimize_model(
        str(fp32_file), model_type="bert", num_heads=0, hidden_size=0, optimization_options=options, opt_level=0
    )
    graph = fused.model
    if not any(node.op_type == "MultiHeadAttention" for node in graph.graph.node):
        log.warning("No attention of %s was fused; the optimized file gains little.", fp32_file)
    first_token_only(graph)
    log.info("Optimized %s: %s", fp32_file.name, dict(Counter(node.op_type for node in graph.graph.node)))
    with atomic_file(out_file, ModelError) as temporary:
        onnx.save(graph, temporary)
    return out_file


def read_graph(file: Path) -> "onnx.ModelProto":
    """Load an ONNX file.

    Raises:
        ModelError: It is missing or corrupt.
    """
    import onnx

    try:
        graph = onnx.load(file)
        if not graph.graph.node:
            raise ValueError("a graph without nodes")
    except Exception as error:  # protobuf and the file system each raise their own
        raise ModelError(
            f"The ONNX file {file} cannot be read.",
            found=error,
            expected="an ONNX model in a single file",
            remedy="It is corrupt or incomplete: export the candidate again (groundswell export).",
        ) from error
    return graph


def first_token_only(model: "onnx.ModelProto") -> bool:
    """Restrict queries, projections and feed-forward of the last layer to the first token, in place.

    Keys and values still cover the whole text. The graph stays unchanged if it has anything between the last attention and
    the classifier except per-token operators followed by the selection of token 0.

    Args:
        model: Optimized graph with `MultiHeadAttention` operators.

    Returns:
        Whether the graph was changed.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    graph = model.graph
    maker = {name: node for node in graph.node for name in node.output}
    attentions = [node for node in graph.node if node.op_type == "MultiHeadAttention"]
    if not attentions or attentions[-1].input[0] not in maker:
        return False
    query = maker[attentions[-1].input[0]]
    hidden = query.input[0]
    after = _per_token_nodes(graph, attentions[-1].output[0], hidden)
    if query.op_type != "MatMul" or after is None:
        log.warning("The last layer is computed for all tokens: what follows it is not per token.")
        return False
    for name, value in (("first_from", 0), ("first_to", 1), ("first_axis", 1)):
        graph.initializer.append(numpy_helper.from_array(np.array([value], dtype=np.int64), name))
    first = f"{hidden}_first"
    slicing = helper.make_node("Slice", [hidden, "first_from", "first_to", "first_axis"], [first], name="first_token")
    graph.node.insert(list(graph.node).index(maker[hidden]) + 1, slicing)
    for node in [query, *after]:
        node.input[:] = [first if name == hidden else name for name in node.input]
    return True


def _per_token_nodes(graph: "onnx.GraphProto", start: str, hidden: str) -> "list[onnx.NodeProto] | None":
    """Return the nodes between `start` and the Gather of token 0; None if any other operator is on the path."""
    from onnx import numpy_helper

    constants = {tensor.name for tensor in graph.initializer}
    values = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants.add(node.output[0])
            values.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    reached, nodes, gathered = {start}, [], False
    for node in graph.node:  # topological order
        if not reached.intersection(node.input):
            continue
        if node.op_type == "Gather" and node.input[0] in reached and node.input[1] in values:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            if axis == 1 and numpy_helper.to_array(values[node.input[1]]).tolist() == 0:
                gathered = True
                continue
            return None
        others = {name for name in node.input if name} - reached - constants
        if node.op_type not in _PER_TOKEN or not others <= {hidden}:
            return None
        nodes.append(node)
        reached.update(node.output)
    return nodes if gathered and not reached & {output.name for output in graph.output} else None
