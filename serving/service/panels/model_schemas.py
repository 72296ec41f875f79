"""Data of models for the dashboard: the responses of the panels that read the pipeline's files."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

Label = Literal["negative", "neutral", "positive"]


class Interval(BaseModel):
    """A measure with its 95 % bootstrap interval; null where it cannot be computed."""

    value: float | None
    low: float | None
    high: float | None


class Slice(BaseModel):
    """Quality of the model on some of the rows."""

    names: list[str] = Field(description="What the rows have in common; two names of the same rows are one slice.")
    rows: int
    macro_recall: Interval
    weak: bool = Field(description="The whole interval is below that of all rows.")


class Bin(BaseModel):
    """A bin of the reliability diagram: predictions of similar confidence."""

    confidence: float
    accuracy: float
    rows: int


class Sarcasm(BaseModel):
    """How well the model finds sarcasm on the test rows of one dataset."""

    dataset: str
    n: int
    sarcastic: int = Field(description="Of them, by their label.")
    f1: Interval = Field(description="Of the sarcastic class.")
    precision: float
    recall: float


class Companies(BaseModel):
    """How well the model scores the sentiment of a text towards one company."""

    n: int = Field(description="Test texts.")
    correlation: Interval = Field(description="With their scores, -1 to 1.")
    pairs: int = Field(description="Two companies of one text, with different scores.")
    order: Interval | None = Field(description="Share of them in the right order; null: there are none.")
    sentences: int = Field(description="Made ones, about two companies.")
    made: Interval = Field(description="Share of them with the two in the right order.")


class Candidate(BaseModel):
    """A line of the leaderboard."""

    name: str
    evaluated: str = Field(description="Its name for the panels `comparison` and `errors`.")
    from_scratch: bool
    rows: int
    macro_recall: Interval
    macro_f1: Interval
    accuracy: Interval
    ece: Interval
    cpu_us_per_text: float | None = Field(description="Null where it was not measured.")
    usd_per_million: float | None = Field(
        description="Price of a million texts: of the CPU time, or of a large model's tokens; null where it is not known."
    )
    large_model: bool = Field(description="Behind an endpoint, evaluated for comparison only.")
    p99_ms: float | None
    on_front: bool = Field(description="Pareto-optimal: no other is both more accurate and cheaper.")
    in_production: bool
    slices: list[Slice]
    confusion: list[list[int]] | None = Field(description="Rows: true label, columns: predicted, in the labels' order.")
    reliability: list[Bin] | None
    sarcasm: list[Sarcasm] = Field(description="Empty for a model that does not predict sarcasm.")
    rephrased: Interval | None = Field(
        description="Share of sarcastic texts with the label of what their authors meant, in plain words."
    )
    companies: Companies | None = Field(description="null: no test text has a score for a company.")


class Leaderboard(BaseModel):
    """The leaderboard; empty where this machine has none, `missing` then states what to do."""

    missing: str | None
    rows: list[Candidate]


class Move(BaseModel):
    """A move of an alias to another version."""

    at: datetime
    alias: str
    from_version: str | None
    to_version: str | None
    bundle: str
    reason: str
    gate: str | None


class Production(BaseModel):
    """The production bundle and the history of the aliases."""

    version: str = Field(description="Version of the served bundle.")
    card: str = Field(description="The model card, Markdown.")
    moves: list[Move] = Field(description="Newest first.")
    mlflow_url: str
    dagster_url: str


class Rule(BaseModel):
    """A rule of the promotion gate."""

    rule: str
    passed: bool
    found: float | str | None = Field(description="Null where there was nothing to compare with.")
    limit: float | str | None
    text: str


class Gate(BaseModel):
    """The last gate decision; where there is none, `missing` states what to do."""

    missing: str | None
    passed: bool | None
    bundle: str | None = Field(description="Version that the decision is about.")
    unchanged: bool = Field(description="It was in production already, so the rules are those of the decision that promoted it.")
    decided_at: datetime | None
    rules: list[Rule]


class TransferCell(BaseModel):
    """A model on a domain."""

    learned: str = Field(description="The domain that it learned from; `heads` or `generalist`: from all.")
    domain: str
    n: int
    macro_recall: Interval


class TransferGain(BaseModel):
    """The macro-recall of heads minus that of another model, paired on the same rows."""

    domain: str
    over: str
    difference: Interval


class Transfer(BaseModel):
    """The domain-transfer matrix; where there is none, `missing` states what to do."""

    missing: str | None
    candidate: str | None
    epochs: int | None
    learned_rows: dict[str, int]
    cells: list[TransferCell]
    gains: list[TransferGain]


class Evaluated(BaseModel):
    """A model with predictions on the frozen test rows: a candidate, or the bundle of one."""

    name: str = Field(description="For the panels `comparison` and `errors`.")
    title: str
    in_production: bool


class EvaluatedList(BaseModel):
    """Models that can be compared; empty where the pipeline stored no predictions."""

    missing: str | None
    rows: list[Evaluated]


class MeasureCompared(BaseModel):
    """A measure of both models; the difference is paired, with a 95 % bootstrap interval over the rows that both predicted."""

    name: str
    left: Interval
    right: Interval
    difference: Interval | None = Field(description="Right minus left.")


class SliceCompared(BaseModel):
    """Macro-recall of both models on some of the rows."""

    names: list[str] = Field(description="What the rows have in common; two names of the same rows are one slice.")
    rows: int
    left: Interval
    right: Interval


class ChangedPrediction(BaseModel):
    """A text for which the two models predict different labels."""

    text: str
    source: str
    label: Label
    left: Label
    right: Label
    right_confidence: float
    change: Literal["corrected", "broken", "wrong both times"]


class Comparison(BaseModel):
    """Two evaluated models on the same test rows of the primary dataset."""

    left: str
    right: str
    rows: int = Field(description="That both predicted.")
    changed: int
    corrected: int = Field(description="Wrong on the left, right on the right.")
    broken: int = Field(description="Right on the left, wrong on the right.")
    measures: list[MeasureCompared]
    slices: list[SliceCompared]
    examples: list[ChangedPrediction] = Field(description="At most twenty of each change, the most confident first.")


class WrongPrediction(BaseModel):
    """A text with its true label in the cell that was asked for."""

    text: str
    source: str
    confidence: float


class Errors(BaseModel):
    """Texts of a cell of the confusion matrix, the most confident first."""

    name: str
    label: Label
    predicted: Label
    rows: int = Field(description="Rows in the cell; the texts shown may be fewer.")
    examples: list[WrongPrediction]
