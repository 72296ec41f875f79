"""Tiny models built in milliseconds: a word tokenizer, a BERT checkpoint, a bundle that sums word scores."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from serving.bundle import Bundle, write_bundle
from tests.make import BLAME, PRAISE, THINGS, text_of
from training.candidates import Candidate, load_candidates

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PRAISE, *BLAME, *THINGS, "the", "was", "number", "not", "user", "http")


def write_tokenizer(folder: Path) -> Path:
    """Write a `tokenizer.json` with the vocabulary `WORDS`."""
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def write_sum_model(path: Path, *, strength: float = 2.0, columns: int = 3) -> Path:
    """Write an ONNX model whose logits are the sum of word scores, so that praise is positive and blame negative."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    scores = np.zeros((len(WORDS), columns), dtype=np.float32)
    scores[[WORDS.index(word) for word in PRAISE], -1] = strength
    scores[[WORDS.index(word) for word in BLAME], 0] = strength
    bias = np.array([0, 0.5 * strength, 0][:columns], dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["scores", "input_ids"], ["word"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
            helper.make_node("Mul", ["word", "mask3"], ["masked"]),
            helper.make_node("ReduceSum", ["masked", "axis"], ["sum"], keepdims=0),
            helper.make_node("Add", ["sum", "bias"], ["logits"]),
        ],
        "sum",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "l"]) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", columns])],
        [
            numpy_helper.from_array(scores, "scores"),
            numpy_helper.from_array(bias, "bias"),
            numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def tiny_bundle(
    directory: Path, *, strength: float = 2.0, max_length: int = 32, model_file: Path | None = None, **manifest
) -> Bundle:
    """Write a bundle that predicts `tests.make.text_of` correctly; each `strength` gives a different version."""
    parts = directory.parent / f"{directory.name}-parts"
    parts.mkdir(parents=True, exist_ok=True)
    return write_bundle(
        directory,
        model_file=model_file or write_sum_model(parts / "model.onnx", strength=strength),
        tokenizer_file=write_tokenizer(parts),
        card="# tiny\n",
        name="tiny",
        max_length=max_length,
        data_fingerprint="f" * 64,
        **manifest,
    )


HEADS = ("general", "finance")


def headed_bundle(directory: Path, **manifest) -> Bundle:
    """Write a `tiny_bundle` with a head for finance, which calls praise negative and blame positive. Blame is sarcastic."""
    import onnx
    from onnx import helper, numpy_helper

    parts = directory.parent / f"{directory.name}-headed"
    parts.mkdir(parents=True, exist_ok=True)
    model = onnx.load(str(write_sum_model(parts / "one.onnx")))
    graph = model.graph
    graph.node[-1].output[:] = ["sums"]
    for name, values in (("columns", [0, 1, 2, 2, 1, 0]), ("shape", [-1, 2, 3])):
        graph.initializer.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
    graph.node.append(helper.make_node("Gather", ["sums", "columns"], ["outputs"], axis=1))
    graph.node.append(helper.make_node("Reshape", ["outputs", "shape"], ["logits"]))
    graph.initializer.append(numpy_helper.from_array(np.array([0], dtype=np.int64), "blame"))
    graph.node.append(helper.make_node("Gather", ["sums", "blame"], ["sarcasm"], axis=1))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", 2, 3]))
    graph.output.append(helper.make_tensor_value_info("sarcasm", onnx.TensorProto.FLOAT, ["n", 1]))
    onnx.save(model, str(parts / "model.onnx"))
    sarcasm = {"scale": 0.5, "offset": -0.5}
    return tiny_bundle(directory, model_file=parts / "model.onnx", heads=HEADS, sarcasm=sarcasm, **manifest)


def tiered_bundle(directory: Path, *, threshold: float = 0.6, **manifest) -> Bundle:
    """Write a `tiny_bundle` with a tier `small` that gives praise and blame the wrong label, and escalates below `threshold`."""
    parts = directory.parent / f"{directory.name}-small"
    parts.mkdir(parents=True, exist_ok=True)
    return tiny_bundle(
        directory,
        tier_files={"small": write_sum_model(parts / "model.onnx", strength=-1.0)},
        tiers={"small": {"title": "Small", "cpu_us": 10.0}},
        points=[
            {"tier": "small", "threshold": 0.0, "macro_recall": 0.5, "cpu_us": 10.0},
            {"tier": "small", "threshold": threshold, "escalated": 0.5, "macro_recall": 0.8, "cpu_us": 60.0},
            {"tier": "base", "threshold": 0.0, "macro_recall": 0.801, "cpu_us": 100.0},
        ],
        **manifest,
    )


def slow_bundle(directory: Path, *, turns: int = 5) -> Bundle:
    """Write a `tiny_bundle` with `turns` extra products of 512 by 512 matrices per text: 5 take about 7 ms of CPU."""
    import onnx
    from onnx import helper, numpy_helper

    parts = directory.parent / f"{directory.name}-parts"
    parts.mkdir(parents=True, exist_ok=True)
    model = onnx.load(str(write_sum_model(parts / "model.onnx")))
    graph = model.graph
    graph.node[-1].output[0] = "sum_logits"
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.eye(512, dtype=np.float32) * 1e-3, "turn"),
            numpy_helper.from_array(np.full((1, 3, 64, 512), 1e-6, np.float32), "wide"),
            numpy_helper.from_array(np.array([2, 3], dtype=np.int64), "last_axes"),
        ]
    )
    nodes = [
        helper.make_node("Unsqueeze", ["sum_logits", "last_axes"], ["logits4"]),
        helper.make_node("Add", ["logits4", "wide"], ["turn0"]),
        *(helper.make_node("MatMul", [f"turn{n}", "turn"], [f"turn{n + 1}"]) for n in range(turns)),
        helper.make_node("ReduceSum", [f"turn{turns}", "last_axes"], ["nearly_nothing"], keepdims=0),
        helper.make_node("Add", ["sum_logits", "nearly_nothing"], ["logits"]),
    ]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(parts / "model.onnx"))
    return write_bundle(
        directory,
        model_file=parts / "model.onnx",
        tokenizer_file=write_tokenizer(parts),
        card="# slow\n",
        name="slow",
        max_length=32,
        data_fingerprint="f" * 64,
    )


def write_checkpoint(folder: Path, *, architecture: str = "bert", labels: dict[int, str] | None = None, seed: int = 0) -> Path:
    """Write a Hugging Face checkpoint of two small layers, with random weights."""
    import torch
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        DistilBertConfig,
        DistilBertForSequenceClassification,
        RobertaConfig,
        RobertaForSequenceClassification,
    )

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    names = labels or {0: "negative", 1: "neutral", 2: "positive"}
    common = {
        "vocab_size": len(WORDS),
        "id2label": names,
        "label2id": {v: k for k, v in names.items()},
        "pad_token_id": 0,
        "initializer_range": 0.2,
    }
    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    if architecture == "bert":
        model = BertForSequenceClassification(BertConfig(max_position_embeddings=64, **sizes, **common))
    elif architecture == "roberta":
        model = RobertaForSequenceClassification(RobertaConfig(max_position_embeddings=66, type_vocab_size=1, **sizes, **common))
    else:
        model = DistilBertForSequenceClassification(
            DistilBertConfig(n_layers=2, dim=32, n_heads=2, hidden_dim=64, max_position_embeddings=64, **common)
        )
    model.save_pretrained(str(folder), safe_serialization=True)
    write_tokenizer(folder)
    return folder


def tiny_candidate(base: Path, **fields) -> Candidate:
    """Return a candidate whose base model is a local checkpoint."""
    entry = {
        "kind": "transformer",
        "title": "Tiny",
        "license": "ours",
        "package": "none",
        "max_length": 32,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "epochs": 14,
    }
    return load_candidates({"tiny": entry | fields})["tiny"].model_copy(update={"local": str(base)})


def some_texts(count: int = 60) -> list[str]:
    """Return texts of all classes and many lengths."""
    labels = ("negative", "neutral", "positive")
    return [" ".join(text_of(labels[n % 3], n) for _ in range(1 + n % 4)) for n in range(count)]
