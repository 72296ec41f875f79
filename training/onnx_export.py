"""A checkpoint to one float32 ONNX file: `input_ids`, `attention_mask` int64 (N, L) to `logits` float32 (N, 3)."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import ModelError
from data.labels import columns_in_label_order

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"
ARCHITECTURES = ("bert", "distilbert", "roberta")
OPSET = 17
"""The first with LayerNormalization as one operator."""


def export_fp32(checkpoint_dir: Path, out_file: Path) -> Path:
    """Export a sequence classifier through optimum.

    Token types are folded in as zeros, and the columns of the logits are put in `LABELS` order, so that every model has
    the same two inputs and the same output whatever it was trained with.

    Args:
        checkpoint_dir: What `save_pretrained` wrote: config.json and weights. BERT, DistilBERT or RoBERTa.
        out_file: The ONNX file to write, weights inside; batch and sequence axes are dynamic. Replaced if it is there.

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
    with whole_file(out_file) as temporary, _quiet():
        try:
            export(model, _two_inputs(model.config), temporary, opset=OPSET, do_constant_folding=True)
        except Exception as error:  # tracing runs the model's own code
            raise ModelError(f"The checkpoint {checkpoint} cannot be exported to ONNX.", found=error) from error
        graph = onnx.load(temporary)
        _order_columns(graph, columns)
        onnx.checker.check_model(graph)
        onnx.save(graph, temporary)
    return out_file


def _load(checkpoint: Path) -> Any:
    """The model in evaluation mode, float32, with attention written out, as the fusions of ONNX Runtime expect it."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    if not (checkpoint / "config.json").is_file():
        raise ModelError(
            f"There is no checkpoint at {checkpoint}.",
            found="no config.json there",
            expected="a folder written by save_pretrained",
            remedy="Train the candidate first: groundswell train.",
        )
    try:
        config = AutoConfig.from_pretrained(checkpoint)
        architecture = config.model_type
        if architecture in ARCHITECTURES:
            return AutoModelForSequenceClassification.from_pretrained(
                checkpoint, attn_implementation="eager", dtype="float32", local_files_only=True
            ).eval()
    except Exception as error:  # safetensors, torch, json and transformers each raise their own
        raise ModelError(
            f"The checkpoint {checkpoint} cannot be read.",
            found=error,
            remedy="It is damaged or half-written: train the candidate again, or fetch the model again.",
        ) from error
    raise ModelError(
        f"The checkpoint {checkpoint} has an architecture that is not exported.",
        found=architecture,
        expected=", ".join(ARCHITECTURES),
    )


def _two_inputs(config: Any) -> Any:
    """Optimum's export description of the architecture without `token_type_ids`."""
    from optimum.exporters.onnx import model_configs

    named = {
        "bert": model_configs.BertOnnxConfig,
        "distilbert": model_configs.DistilBertOnnxConfig,
        "roberta": model_configs.RobertaOnnxConfig,
    }

    class TwoInputs(named[config.model_type]):
        @property
        def inputs(self) -> dict[str, dict[int, str]]:
            return {name: {0: "batch_size", 1: "sequence_length"} for name in INPUTS}

    return TwoInputs(config, task="text-classification")


def _order_columns(graph: "onnx.ModelProto", columns: list[int]) -> None:
    """Append a Gather that puts the columns in order, when they are not."""
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
def whole_file(target: Path) -> Iterator[Path]:
    """A temporary name beside `target`, renamed to it when the block ends without an error and removed otherwise.

    Raises:
        ModelError: The file cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise ModelError(
            f"{target} cannot be written.", found=error, remedy="Free disk space or mend the folder's rights."
        ) from error
    finally:
        for rest in target.parent.glob(f"{temporary.name}*"):  # onnx may put weights beside the graph
            rest.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Tracing warns of every Python branch it passes; none of them matters with dynamic axes checked by parity."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
