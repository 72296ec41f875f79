# ONNX, ONNX Runtime and optimum have few annotations.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false, reportUntypedBaseClass=false
"""Export a checkpoint to one float32 ONNX file: `input_ids`, `attention_mask` int64 (N, L) to `logits` float32 (N, 3).

A model with D heads, D > 1, has `logits` float32 (N, D, 3); one that finds sarcasm also has `sarcasm` float32 (N, 1), a logit.
"""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import atomic_file, read_json
from data.errors import ModelError
from data.labels import LABELS
from training.heads import SARCASM, heads_and_columns, sarcasm_column

if TYPE_CHECKING:
    import numpy as np
    import onnx

log = logging.getLogger(__name__)

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"
ARCHITECTURES = ("bert", "distilbert", "roberta", "mpnet")
TABLE = "groundswell_table"
"""The architecture of training/table_student.py, which optimum does not know."""
OPSET = 17
"""The first opset with LayerNormalization as one operator."""


def export_fp32(checkpoint_dir: Path, out_file: Path) -> Path:
    """Export a sequence classifier through optimum.

    Token types become constant zeros, and the columns of the logits are reordered to `LABELS`, by head, so that every model has
    the same two inputs and the same output, however it was trained.

    Args:
        checkpoint_dir: A folder written by `save_pretrained`: config.json and weights. BERT, DistilBERT, RoBERTa, MPNet or a
            table student.
        out_file: The ONNX file to write, weights inside; batch and sequence axes are dynamic. An existing file is replaced.

    Returns:
        `out_file`.

    Raises:
        ModelError: The checkpoint is missing, corrupt or of another architecture, or its labels cannot be mapped.
    """
    import onnx
    from optimum.exporters.onnx import export

    checkpoint = Path(checkpoint_dir)
    model = _load(checkpoint)
    heads, columns = heads_and_columns(checkpoint.name, model.config.id2label)
    sarcasm = sarcasm_column(model.config.id2label)
    with atomic_file(out_file, ModelError) as temporary, _quiet():
        try:
            if model.config.model_type == TABLE:
                _trace(model, temporary)
            else:
                export(model, _two_inputs(model.config), temporary, opset=OPSET, do_constant_folding=True)
        except Exception as error:  # tracing runs the code of the model, which can raise anything
            raise ModelError(f"The checkpoint {checkpoint} cannot be exported to ONNX.", found=error) from error
        graph = onnx.load(temporary)
        if sarcasm is not None:
            _sarcasm_output(graph, sarcasm)
        _order_columns(graph, columns, len(heads), every=sarcasm is None)
        onnx.checker.check_model(graph)
        onnx.save(graph, temporary)
    return out_file


def _load(checkpoint: Path) -> Any:
    """Load the model in evaluation mode, float32, with eager attention, which the fusions of ONNX Runtime expect."""
    from training.checkpoints import load_trained

    if not (checkpoint / "config.json").is_file():
        raise ModelError(
            f"There is no checkpoint at {checkpoint}.",
            found="no config.json there",
            expected="a folder written by save_pretrained",
            remedy="Train the candidate first: groundswell train.",
        )
    try:
        architecture = read_json(checkpoint / "config.json")["model_type"]
        if architecture in ARCHITECTURES:
            return load_trained(checkpoint, attn_implementation="eager", dtype="float32", local_files_only=True).eval()
        if architecture == TABLE:
            return load_trained(checkpoint, dtype="float32", local_files_only=True).eval()
    except Exception as error:  # safetensors, torch, json and transformers each raise their own
        raise ModelError(
            f"The checkpoint {checkpoint} cannot be read.",
            found=error,
            remedy="It is corrupt or incomplete: train the candidate again, or fetch the model again.",
        ) from error
    raise ModelError(
        f"The checkpoint {checkpoint} has an architecture that is not exported.",
        found=architecture,
        expected=", ".join(ARCHITECTURES),
    )


def _two_inputs(config: Any) -> Any:
    """Return the export configuration of optimum for the architecture, without `token_type_ids`."""
    from optimum.exporters.onnx import model_configs

    named = {
        "bert": model_configs.BertOnnxConfig,
        "distilbert": model_configs.DistilBertOnnxConfig,
        "roberta": model_configs.RobertaOnnxConfig,
        "mpnet": model_configs.MPNetOnnxConfig,
    }

    class TwoInputs(named[config.model_type]):
        @property
        def inputs(self) -> dict[str, dict[int, str]]:
            return {name: {0: "batch_size", 1: "sequence_length"} for name in INPUTS}

    return TwoInputs(config, task="text-classification")


def _trace(model: Any, file: Path) -> None:
    """Export a table student, which is a module of torch like any other."""
    import torch

    ids = torch.ones((2, 5), dtype=torch.int64)
    torch.onnx.export(
        model,
        (ids, torch.ones_like(ids)),
        str(file),
        input_names=list(INPUTS),
        output_names=[OUTPUT],
        dynamic_axes={name: {0: "batch_size", 1: "sequence_length"} for name in INPUTS},
        opset_version=OPSET,
        dynamo=False,
    )


def _sarcasm_output(graph: "onnx.ModelProto", column: int) -> None:
    """Add the output `sarcasm`: one column of the logits."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph.graph.initializer.append(numpy_helper.from_array(np.array([column], dtype=np.int64), "sarcasm_column"))
    graph.graph.node.append(helper.make_node("Gather", [OUTPUT, "sarcasm_column"], [SARCASM], name="to_sarcasm", axis=1))
    rows = graph.graph.output[0].type.tensor_type.shape.dim[0].dim_param
    graph.graph.output.append(helper.make_tensor_value_info(SARCASM, TensorProto.FLOAT, [rows, 1]))


def _order_columns(graph: "onnx.ModelProto", columns: list[int], heads: int, *, every: bool) -> None:
    """Append a Gather of the columns, unless they are all and in order, and a Reshape to heads, unless there is one."""
    import numpy as np

    if columns != sorted(columns) or not every:
        _append(graph, "Gather", "label_order", np.array(columns), axis=1)
    if heads > 1:
        _append(graph, "Reshape", "heads", np.array([-1, heads, len(LABELS)]))
    shape = graph.graph.output[0].type.tensor_type.shape
    del shape.dim[1:]
    for size in (heads, len(LABELS)) if heads > 1 else (len(LABELS),):
        shape.dim.add().dim_value = size


def _append(graph: "onnx.ModelProto", operation: str, name: str, values: "np.ndarray", **attributes: Any) -> None:
    """Append an operation on the logits, with one constant."""
    import numpy as np
    from onnx import helper, numpy_helper

    before = f"{OUTPUT}_before_{name}"
    for node in graph.graph.node:
        node.output[:] = [before if one == OUTPUT else one for one in node.output]
        node.input[:] = [before if one == OUTPUT else one for one in node.input]
    graph.graph.initializer.append(numpy_helper.from_array(values.astype(np.int64), name))
    graph.graph.node.append(helper.make_node(operation, [before, name], [OUTPUT], name=f"to_{name}", **attributes))


@contextmanager
def _quiet() -> Generator[None]:
    """Suppress the warnings of tracing about Python branches; parity checks the dynamic axes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
