"""LitServe with batching over the bundle, as LitServe's documentation shows it.

Started as a program with the port; the bundle's folder is in PEER_MODEL; PEER_WORKERS and PEER_THREADS are set too.
"""

import json
import os
import sys
from pathlib import Path

import litserve as ls  # pyright: ignore[reportMissingImports]  in an environment of its own
import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer


class Sentiment(ls.LitAPI):
    """The model behind LitServe's batcher."""

    def setup(self, device: str) -> None:
        """Load the model, once per worker."""
        folder = Path(os.environ["PEER_MODEL"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(os.environ["PEER_THREADS"])
        self.session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        manifest = json.loads((folder / "bundle.json").read_text())
        self.labels = manifest["labels"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(manifest["max_length"])
        self.tokenizer.enable_padding(pad_id=self.tokenizer.token_to_id("[PAD]") or 0)

    def decode_request(self, request: dict) -> str:
        """Return the text of a request."""
        return request["text"]

    def predict(self, texts: list[str]) -> list[dict]:
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

    def encode_response(self, output: dict) -> dict:
        """Return the response to one request."""
        return output


if __name__ == "__main__":
    api = Sentiment(max_batch_size=32, batch_timeout=0.005)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=int(os.environ["PEER_WORKERS"]), timeout=60)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False, log_level="warning")
