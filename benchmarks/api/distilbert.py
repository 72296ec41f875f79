"""A bundle of DistilBERT's size with random weights: it costs as much as a trained one and needs no download."""

import tempfile
from pathlib import Path

from data.artifacts import reuse_or_build
from data.labels import LABEL_IDS, LABELS
from serving.bundle import TOKENIZER, Bundle, read_bundle, write_bundle

SCHEME = "int8_rowwise"


def distilbert_bundle(folder: Path, like: Bundle) -> Bundle:
    """Build a model of six layers, width 768 and 12 heads with the project's own export and quantization.

    Args:
        folder: Where it is stored; a later run uses it again.
        like: The bundle whose tokenizer and `max_length` it gets.
    """
    key = {"tokenizer": like.manifest.files[TOKENIZER], "max_length": like.manifest.max_length, "scheme": SCHEME}
    reuse_or_build(folder, key, lambda target: _build(target, like))
    return read_bundle(folder / "bundle")


def _build(target: Path, like: Bundle) -> None:
    import torch
    from tokenizers import Tokenizer
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    from training.onnx_export import export_fp32
    from training.onnx_optimize import optimize
    from training.onnx_quantize import quantize

    tokenizer_file = like.directory / TOKENIZER
    words = Tokenizer.from_file(str(tokenizer_file)).get_vocab_size()
    torch.manual_seed(0)
    config = DistilBertConfig(vocab_size=words, id2label=dict(enumerate(LABELS)), label2id=LABEL_IDS)
    with tempfile.TemporaryDirectory(dir=target) as work:
        checkpoint = Path(work) / "checkpoint"
        DistilBertForSequenceClassification(config).save_pretrained(str(checkpoint))
        fp32 = export_fp32(checkpoint, Path(work) / "fp32.onnx")
        optimized = optimize(fp32, Path(work) / "optimized.onnx")
        model = quantize(SCHEME, fp32_file=fp32, optimized_file=optimized, out_file=Path(work) / "model.onnx")
        write_bundle(
            target / "bundle",
            model_file=model,
            tokenizer_file=tokenizer_file,
            card="# DistilBERT's size, random weights\n",
            name="distilbert-random",
            max_length=like.manifest.max_length,
            quantization=SCHEME,
        )
