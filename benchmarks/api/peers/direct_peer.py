"""FastAPI with the model called directly, without batching: the twenty lines that anyone can write.

Started by `uvicorn direct_peer:app`, one process per CPU. The bundle's folder is in PEER_MODEL. PEER_WITH names what classifies:
`classifier`, the classifier of this project, or `onnx`, a bare ONNX Runtime session with the bundle's tokenizer.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI
from pydantic import BaseModel

FOLDER, THREADS = Path(os.environ["PEER_MODEL"]), int(os.environ["PEER_THREADS"])


def with_classifier() -> Callable[[str], tuple[str, float]]:
    """Return a function from a text to label and confidence, by the classifier."""
    from serving.bundle import read_bundle
    from serving.classifier import Classifier

    classifier = Classifier(read_bundle(FOLDER), threads=THREADS)

    def label(text: str) -> tuple[str, float]:
        (found,) = classifier.classify([text])
        return found.label, found.confidence

    return label


def with_onnx() -> Callable[[str], tuple[str, float]]:
    """Return a function from a text to label and confidence, by ONNX Runtime alone: no cleaning, no windows, no calibration."""
    import numpy as np
    import onnxruntime as ort
    from tokenizers import Tokenizer

    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = ort.InferenceSession(str(FOLDER / "model.onnx"), options, providers=["CPUExecutionProvider"])
    manifest = json.loads((FOLDER / "bundle.json").read_text())
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    tokenizer.enable_truncation(manifest["max_length"])
    tokenizer.no_padding()  # the file of MiniLM pads each text to 128 tokens

    def label(text: str) -> tuple[str, float]:
        row = tokenizer.encode(text)
        feed = {"input_ids": np.array([row.ids]), "attention_mask": np.array([row.attention_mask])}
        logits = np.asarray(session.run(["logits"], feed)[0])[0].reshape(-1, 3)[0]  # the head `general`, the first one
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        return manifest["labels"][int(shares.argmax())], float(shares.max())

    return label


app = FastAPI()
classify_one = {"classifier": with_classifier, "onnx": with_onnx}[os.environ["PEER_WITH"]]()


class Tweet(BaseModel):
    """A request."""

    text: str


@app.post("/classify")
def classify(tweet: Tweet) -> dict[str, str | float]:
    """Classify one text. It is a plain `def`, which FastAPI runs in its thread pool."""
    label, confidence = classify_one(tweet.text)
    return {"label": label, "confidence": confidence}
