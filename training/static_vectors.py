# scikit-learn, scipy and transformers annotate their functions only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Vectors of texts without an encoder: the mean of the base model's input embeddings of a text's tokens."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from training.candidates import Candidate
from training.checkpoints import base_model

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_FREQUENT = 1e-3
"""`a` of smooth inverse frequency (Arora, Liang and Ma 2017): a token with share p of all tokens counts a / (a + p)."""


class StaticVectors:
    """As a transformer of scikit-learn: learns how frequent tokens are, and the scale of each number."""

    def __init__(self, candidate: Candidate) -> None:
        from tokenizers import Tokenizer

        model, tokenizer = base_model(candidate)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._table: np.ndarray = model.get_input_embeddings().weight.detach().float().numpy()
        self._weights = np.ones(len(self._table), np.float32)
        self._mean, self._scale = np.zeros(1, np.float32), np.ones(1, np.float32)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tokenizer": self._tokenizer.to_str()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from tokenizers import Tokenizer

        self.__dict__.update(state, _tokenizer=Tokenizer.from_str(state["_tokenizer"]))

    def fit_transform(self, texts: Sequence[str]) -> np.ndarray:
        """Learn from N cleaned texts, and return their vectors, float32, shape (N, width)."""
        counts = self._counts(texts)
        shares = np.asarray(counts.sum(axis=0)).ravel() / max(counts.sum(), 1)
        self._weights = (_FREQUENT / (_FREQUENT + shares)).astype(np.float32)
        vectors = self._means(counts)
        self._mean, self._scale = vectors.mean(axis=0), vectors.std(axis=0) + 1e-6
        return (vectors - self._mean) / self._scale

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of N cleaned texts."""
        return (self._means(self._counts(texts)) - self._mean) / self._scale

    def _counts(self, texts: Sequence[str]) -> "csr_matrix":
        from scipy.sparse import csr_matrix

        rows = [encoded.ids for encoded in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        columns = np.fromiter((token for row in rows for token in row), np.int64)
        starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        return csr_matrix((np.ones(len(columns), np.float32), columns, starts), shape=(len(rows), len(self._table)))

    def _means(self, counts: "csr_matrix") -> np.ndarray:
        weighted = counts.multiply(self._weights).tocsr()
        total = np.asarray(weighted.sum(axis=1)).reshape(-1, 1)
        return (weighted @ self._table / np.maximum(total, 1e-9)).astype(np.float32)
