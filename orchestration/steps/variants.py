"""Export variants of one candidate: its checkpoint as ONNX, in float32, optimized and quantized, each in a bundle of its own."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from data.cleaning import clean
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import read_texts, training_datasets
from orchestration.steps.training import candidate_folder, finds_sarcasm, trained_heads
from serving.bundle import write_bundle
from serving.tiers import Calibration
from training.candidates import Candidate

CALIBRATION_TEXTS = 320
TORCH, FP32, OPTIMIZED = "torch", "onnx_fp32", "onnx_optimized"


def write_variants(
    layout: Layout,
    candidate: Candidate,
    schemes: Sequence[str],
    folder: Path,
    *,
    temperature: float = 1.0,
) -> dict[str, Path]:
    """Write a bundle for float32, one for the optimized graph, and one for each scheme, to `<folder>/<variant>/`.

    A table student has a float32 variant only: it has no attention to fuse and next to no multiplications to quantize.

    Args:
        layout: Where the candidate and the texts for calibration are stored.
        candidate: A trained one.
        schemes: Names of quantization schemes.
        folder: Where to write.
        temperature: Of the bundles.

    Returns:
        The folder of each variant by name.
    """
    from data.tokenization import encode, load_tokenizer, pad, pad_id
    from training.onnx_export import export_fp32
    from training.onnx_optimize import optimize
    from training.onnx_quantize import quantize

    checkpoint = candidate_folder(layout, candidate) / "checkpoint"
    tokenizer_file = checkpoint / "tokenizer.json"
    work = folder / "onnx"
    work.mkdir(parents=True)
    report(f"{candidate.name}: exporting to ONNX")
    files = {FP32: export_fp32(checkpoint, work / f"{FP32}.onnx")}
    if not candidate.table:
        report(f"{candidate.name}: optimizing the graph")
        files[OPTIMIZED] = optimize(files[FP32], work / f"{OPTIMIZED}.onnx")
        tokenizer = load_tokenizer(tokenizer_file, max_length=candidate.max_length)
        texts = read_texts(layout, "train", datasets=training_datasets())["text"]
        sample = texts.sample(min(len(texts), CALIBRATION_TEXTS), random_state=0)
        ids = sorted(encode(tokenizer, [clean(text) for text in sample]), key=len)
        calibration = [pad(ids[start : start + 32], pad_id(tokenizer)) for start in range(0, len(ids), 32)]
        for name in schemes:
            report(f"{candidate.name}: quantizing: {name}")
            files[name] = quantize(
                name,
                fp32_file=files[FP32],
                optimized_file=files[OPTIMIZED],
                out_file=work / f"{name}.onnx",
                calibration=calibration,
            )
    for name, file in files.items():
        write_bundle(
            folder / name,
            model_file=file,
            tokenizer_file=tokenizer_file,
            card=f"# {candidate.title}, {name}: an export variant\n",
            name=candidate.name,
            heads=trained_heads(layout, candidate),
            sarcasm=Calibration() if finds_sarcasm(layout, candidate) else None,
            max_length=candidate.max_length,
            temperature=temperature,
            quantization=name,
        )
    shutil.rmtree(work)
    return {name: folder / name for name in files}
