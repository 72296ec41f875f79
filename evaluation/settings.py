"""Settings of evaluation."""

from typing import ClassVar

from pydantic import Field

from data.settings import Settings, section_config


class EvaluationSettings(Settings):
    """How much is measured. More rounds and rows give narrower intervals and take longer."""

    section: ClassVar[str] = "evaluation"
    model_config = section_config("evaluation")

    primary: str = "tweeteval_sentiment"
    """The dataset (`source`) whose frozen test split ranks the candidates; the others appear as slices."""
    max_test_rows: int | None = Field(default=None, ge=100)
    """Maximum test rows of the primary dataset, and a quarter of that from each other dataset: the same seeded sample for every
    candidate; none: all."""
    seed: int = 0
    """Of the samples and the bootstrap."""
    bootstrap_resamples: int = Field(default=1000, ge=100, le=100_000)
    """Resamples of each 95 % interval."""
    min_slice_rows: int = Field(default=30, ge=1)
    """A slice with fewer labeled rows has no metrics."""
    behavior_cases_per_test: int = Field(default=100, ge=1)
    """Cases of each CheckList test, a seeded sample (the whole suite has 68,912 sentences and 16,153 groups)."""
    behavior_variants_per_case: int = Field(default=4, ge=1)
    """Maximum variants of each INV or DIR group, in addition to the original."""
    cost_rounds: int = Field(default=3, ge=1, le=100)
    """Rounds of the measurement of cost, each over all candidates."""
    cost_bulk_texts: int = Field(default=512, ge=1)
    """Texts per bulk round."""
    cost_single_texts: int = Field(default=100, ge=1)
    """Calls with one text, over all rounds."""
    cost_load_timeout_s: float = Field(default=180.0, gt=0)
    """Longest time in which a candidate loads, in seconds."""
    cost_round_timeout_s: float = Field(default=300.0, gt=0)
    """Longest time of one candidate in one round, in seconds."""


class TransferSettings(Settings):
    """The domain-transfer matrix: one model for each domain, one of all with heads, and one of all without."""

    section: ClassVar[str] = "transfer"
    model_config = section_config("transfer")

    candidate: str = "minilm"
    """The candidate that is trained, from configs/candidates.yaml."""
    rows: int = Field(default=6000, ge=100)
    """Most training rows of a domain: the same for every model that learns from it."""
    evaluated_rows: int = Field(default=3000, ge=100)
    """Most evaluated rows of a dataset."""
    epochs: int = Field(default=1, ge=1, le=20)
    """Passes over the rows."""
    seed: int = 1
    """Of the order of rows, the samples and the weights of new heads."""
