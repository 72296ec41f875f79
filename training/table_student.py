# Torch and transformers annotate their functions only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false, reportUntypedBaseClass=false
"""A student without an encoder: tables of vectors for tokens, pairs and triples of neighboring tokens, and a small network.

A text costs one lookup in three tables a token, instead of six layers of attention. It is saved, loaded, trained and exported
as other checkpoints are, once `register` was called.
"""

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

ARCHITECTURE = "groundswell_table"
_HEADS = 4
"""Ways to weight the tokens of a text."""
_FACTORS = (1_000_003, 8_191, 131)
"""Of the hash of neighboring tokens. Odd, so that tokens spread over a power of two of buckets; products stay far below 2^63."""


class TableConfig(PretrainedConfig):
    """Shape of the tables."""

    model_type = ARCHITECTURE

    def __init__(self, vocab_size: int = 30_522, width: int = 64, buckets: int = 1 << 16, **kwargs: Any) -> None:
        self.vocab_size, self.width, self.buckets = vocab_size, width, buckets
        super().__init__(**kwargs)


class TableModel(PreTrainedModel):
    """`input_ids`, `attention_mask` int64 (N, L) to `logits` float32 (N, labels), as an encoder with a head."""

    config_class = TableConfig

    def __init__(self, config: TableConfig) -> None:
        super().__init__(config)
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.pairs = nn.Embedding(config.buckets, config.width)
        self.triples = nn.Embedding(config.buckets, config.width)
        self.weight = nn.Linear(config.width, _HEADS)
        self.inner = nn.Linear(_HEADS * config.width, 2 * config.width)
        self.outer = nn.Linear(2 * config.width, config.num_labels)
        self.dropout = nn.Dropout(0.2)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> SequenceClassifierOutput:
        """Return the logits."""
        one, two = _before(input_ids), _before(_before(input_ids))
        a, b, c = _FACTORS
        pairs = (input_ids * a + one * b) % self.config.buckets
        triples = (input_ids * a + one * b + two * c) % self.config.buckets
        vectors = self.tokens(input_ids) + self.pairs(pairs) + self.triples(triples)  # (N, L, width)
        scores = self.weight(vectors) + (1.0 - attention_mask.unsqueeze(-1).to(vectors.dtype)) * -1e4  # (N, L, heads)
        pooled = torch.matmul(scores.softmax(dim=1).transpose(1, 2), vectors)  # (N, heads, width)
        hidden = nn.functional.gelu(self.inner(self.dropout(pooled.flatten(1))))
        return SequenceClassifierOutput(logits=self.outer(self.dropout(hidden)))  # type: ignore[arg-type]


def _before(input_ids: torch.Tensor) -> torch.Tensor:
    """Return the token before each token; 0 before the first."""
    return torch.cat([torch.zeros_like(input_ids[:, :1]), input_ids[:, :-1]], dim=1)


def table_model(shape: Any, encoder: Any) -> TableModel:
    """Return a new table student whose token vectors are the main components of those of an encoder.

    Args:
        shape: `training.candidates.Table`.
        encoder: A sequence classifier of transformers; its labels are taken, too.
    """
    words = encoder.get_input_embeddings().weight.detach().float()
    config = TableConfig(
        vocab_size=len(words),
        width=shape.width,
        buckets=shape.buckets,
        num_labels=encoder.config.num_labels,
        id2label=encoder.config.id2label,
        label2id=encoder.config.label2id,
        pad_token_id=encoder.config.pad_token_id,
    )
    model = TableModel(config)
    centered = words - words.mean(dim=0)
    _, directions = torch.linalg.eigh(centered.T @ centered)  # in rising order
    components = centered @ directions[:, -shape.width :]
    with torch.no_grad():
        model.tokens.weight[:, -components.shape[1] :] = components / components.std()
        model.tokens.weight *= 0.3
    return model


def register() -> None:
    """Make transformers load checkpoints of table students as those of its own architectures. Any number of calls."""
    AutoConfig.register(ARCHITECTURE, TableConfig, exist_ok=True)
    AutoModelForSequenceClassification.register(TableConfig, TableModel, exist_ok=True)
