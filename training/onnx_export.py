# ONNX, ONNX Runtime and optimum have few annotations.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false, reportUntypedBaseClass=false
"""Export a checkpoint to one float32 ONNX file: `input_ids`, `attention_mask` int64 (N, L) to `logits` float32 (N, 3)."""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import atomic_file, read_json
from data.errors import ModelError
from data.labels import columns_in_label_order

if TYPE_CHECKING:
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

    Token types become constant zeros, and the columns of the logits are reordered to `LABELS`, so that every model has the
    same two inputs and the same output, however it was trained.

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
    columns = columns_in_label_order(checkpoint.name, model.config.id2label)
    with atomic_file(out_file, ModelError) as temporary, _quiet():
        try:
            if model.config.model_type == TABLE:
                _trace(model, temporary)
            else:
                export(model, _two_inputs(model.config), temporary, opset=OPSET, do_constant_folding=True)
        except Exception as error:  # tracing runs the code of the model, which can raise anything
            raise ModelError(f"The checkpoint {checkpoint} cannot be exported to ONNX.", found=error) from error
        graph = onnx.load(temporary)
        _order_columns(graph, columns)
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


def _order_columns(graph: "onnx.ModelProto", columns: list[int]) -> None:
    """Append a Gather that reorders the columns, unless they are in order."""
    import numpy as np
    from onnx import helper, numpy_helper

    if columns == sorted(columns):
        return
    for node in graph.graph.node:
        node.output[:] = [f"{OUTPUT}_as_trained" if name == OUTPUT else name for name in node.output]
    graph.graph.initializer.append(numpy_helper.from_array(np.array(columns, dtype=np.int64), "label_order"))
    graph.graph.node.append(
        helper.make_node("Gather", [f"{OUTPUT}_as_trained", "label_order"], [OUTPUT], name="in_label_order", axis=1)
    )


@contextmanager
def _quiet() -> Generator[None]:
    """Suppress the warnings of tracing about Python branches; parity checks the dynamic axes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
