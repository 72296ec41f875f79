# Torch and transformers annotate their functions only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Trained candidates as predictors, for the benchmark before export."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.cleaning import clean
from data.contracts import Predictor
from data.domains import GENERAL
from data.errors import CandidateUnavailable
from data.labels import LABELS
from data.tokenization import encode, load_tokenizer, pad, pad_id
from training.candidates import LINEAR, Candidate
from training.heads import heads_and_columns, sarcasm_column

TOKENS_A_BATCH = 2048
"""Maximum padded tokens per batch; larger batches do not fit into the CPU cache."""

NEUTRAL_BAND = 0.05
"""Half-width of VADER's neutral zone (cjhutto/vaderSentiment README, "About the Scoring")."""


class CheckpointPredictor:
    """A Hugging Face checkpoint on torch, fp32."""

    def __init__(self, name: str, checkpoint: Path, max_length: int) -> None:
        import torch

        from training.checkpoints import load_trained

        self.name = name
        self._torch = torch
        self._model = load_trained(checkpoint).eval()
        self._heads, self._columns = heads_and_columns(name, self._model.config.id2label)
        self._sarcasm = sarcasm_column(self._model.config.id2label)
        self._tokenizer = load_tokenizer(checkpoint / "tokenizer.json", max_length=max_length)

    def predict_proba(self, texts: Sequence[str], *, domains: Sequence[str] | None = None) -> np.ndarray:
        """Return probabilities, float32, shape (N, 3). Batches are sorted by length, at most `TOKENS_A_BATCH` tokens."""
        positions = {head: index for index, head in enumerate(self._heads)}
        heads = np.array([positions.get(domain, 0) for domain in domains or [GENERAL] * len(texts)], dtype=np.int64)
        logits = self._torch.from_numpy(self._logits(texts)[:, self._columns])
        by_head = logits.reshape(len(texts), len(self._heads), len(LABELS)).softmax(dim=-1).numpy()
        return by_head[np.arange(len(texts)), heads]

    def predict_sarcasm(self, texts: Sequence[str]) -> np.ndarray | None:
        """Return the probability that each text is sarcastic, not calibrated, float32, (N,); None: it has no such output."""
        if self._sarcasm is None:
            return None
        return 1 / (1 + np.exp(-self._logits(texts)[:, self._sarcasm]))

    def _logits(self, texts: Sequence[str]) -> np.ndarray:
        rows = encode(self._tokenizer, [clean(text) for text in texts])
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]), reverse=True)
        result = np.empty((len(rows), self._model.config.num_labels), dtype=np.float32)
        fill, start = pad_id(self._tokenizer), 0
        with self._torch.inference_mode():
            while start < len(order):
                size = max(1, TOKENS_A_BATCH // len(rows[order[start]]))
                batch = order[start : start + size]
                input_ids, mask = (self._torch.from_numpy(a) for a in pad([rows[i] for i in batch], fill))
                result[batch] = self._model(input_ids=input_ids, attention_mask=mask).logits.float().numpy()
                start += size
        return result


class VaderPredictor:
    """The VADER lexicon (Hutto and Gilbert, ICWSM 2014).

    Reads raw text, as published: it uses emoticons, capitals and punctuation, which cleaning would partly remove.
    """

    def __init__(self, name: str) -> None:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        self.name = name
        self._analyzer = SentimentIntensityAnalyzer()

    def compounds(self, texts: Sequence[str]) -> np.ndarray:
        """Return VADER's compound of N raw texts, -1 to 1."""
        return np.array([self._analyzer.polarity_scores(text)["compound"] for text in texts], dtype=float)

    def predict_proba(self, texts: Sequence[str], *, domains: Sequence[str] | None = None) -> np.ndarray:
        """Return probabilities, float32, shape (N, 3). It has one head.

        With compound c: `softmax(8 * (-c - 0.05, 0, c - 0.05))`. Its argmax is VADER's rule (c >= 0.05 positive,
        c <= -0.05 negative, else neutral); the slope 8 is our choice, and temperature scaling corrects it.
        """
        compound = self.compounds(texts)
        edge = NEUTRAL_BAND - 1e-6  # a score on the edge is not neutral
        logits = 8 * np.stack([-compound - edge, np.zeros_like(compound), compound - edge], axis=1)
        exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (exponent / exponent.sum(axis=1, keepdims=True)).astype(np.float32)


def load_predictor(candidate: Candidate, directory: Path | None) -> Predictor:
    """Load the predictor of a candidate.

    Args:
        candidate: The candidate.
        directory: The folder that `finetune` wrote; not needed for VADER.

    Raises:
        CandidateUnavailable: It has not been trained.
    """
    if candidate.kind == "vader":
        return VaderPredictor(candidate.name)
    if candidate.kind in LINEAR:
        from training.linear_peers import LinearPredictor

        return LinearPredictor(candidate.name, (directory or Path()) / "checkpoint")
    if directory is None or not (directory / "checkpoint" / "config.json").is_file():
        raise CandidateUnavailable(
            f"{candidate.name} has not been trained.", expected=f"{directory}/checkpoint", remedy="Run `groundswell train`."
        )
    return CheckpointPredictor(candidate.name, directory / "checkpoint", candidate.max_length)
