"""A plain BentoML service with its adaptive batcher over the bundle, as BentoML's documentation shows it.

Started by `bentoml serve bentoml_peer:Batchable` with the variables PEER_MODEL (the bundle's folder), PEER_WORKERS, PEER_THREADS.
"""

import json
import os
from pathlib import Path

import bentoml
import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

FOLDER = Path(os.environ["PEER_MODEL"])


@bentoml.service(
    name="batchable",
    workers=int(os.environ["PEER_WORKERS"]),
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},
)
class Batchable:
    """The model behind BentoML's batcher."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(os.environ["PEER_THREADS"])
        self.session = ort.InferenceSession(str(FOLDER / "model.onnx"), options, providers=["CPUExecutionProvider"])
        manifest = json.loads((FOLDER / "bundle.json").read_text())
        self.labels = manifest["labels"]
        self.tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
        self.tokenizer.enable_truncation(manifest["max_length"])
        self.tokenizer.enable_padding(pad_id=self.tokenizer.token_to_id("[PAD]") or 0)

    # BentoML also rejects requests that would take longer than this latency; no request here takes ten seconds.
    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=10_000)
    def classify(self, texts: list[str]) -> list[dict]:
        """Classify the texts of all callers in a batch."""
        rows = self.tokenizer.encode_batch(texts)
        feed = {
            "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
            "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
        }
        logits = np.asarray(self.session.run(["logits"], feed)[0])
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = weights / weights.sum(axis=1, keepdims=True)
        return [{"label": self.labels[row.argmax()], "score": float(row.max())} for row in shares]
