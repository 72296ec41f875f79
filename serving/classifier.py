"""Classify texts: the only code that does, in the API, the stream, Spark, Lambda and the benchmark.

clean → tokenize → sort by length → cut by a budget of padded tokens → run → restore order → temperature → decision.

A bundle may have smaller tiers (serving/tiers.py). A text runs on the tier that the caller names; with a threshold, a text whose
confidence is below it then runs on `base`, whose probabilities count. Whole texts escalate, not single windows.

A model may have heads for domains next to `general`. The head of a text's domain decides, where there is one, else `general`; all
heads are computed together.

A text with more tokens than the model reads is cut into windows, without overlap, and its probabilities are the mean of theirs,
weighted by their tokens. Measured on 300 documents of about 25 reviews each (test rows of two datasets, 60 to 100 % with the same
label, mixed with neutral news): the mean finds the right label in 90 %, the first window alone in 70 %, the most confident window
in 87 %. An overlap of 16 or 32 tokens costs 18 to 44 % more and gains nothing beyond the noise.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.cleaning import clean
from data.domains import GENERAL
from data.errors import BundleError
from data.labels import LABELS
from data.library_settings import limit_tokenizer_threads
from data.tokenization import encode_windows, load_tokenizer, pad, pad_id, window_bounds
from serving.bundle import MODEL, TOKENIZER, Bundle, Manifest, read_bundle
from serving.engines.engine import DEFAULT_ENGINE, Engine, on_engine, open_engine
from serving.threads import cpu_quota
from serving.tiers import BASE, Calibration, OperatingPoint, Tier, point_named, tier_file

TOKEN_BUDGET = 1024
"""Padded tokens of one run. Measured on two cores with MiniLM: more gains nothing and leaves the CPU cache, less costs more."""

RUN_TOKENS = 16
"""Fixed cost of a run, in padded tokens. With MiniLM 8 to 32 do equally well; see `plan_runs`."""
RUN_TEXTS = 64
"""Most texts of one run, so that planning stays cheap."""

_NEUTRAL = LABELS.index("neutral")

Domains = Sequence[str | None] | None
"""The domain of each text, or None where it is not known; None: of all."""


@dataclass(frozen=True)
class Window:
    """The prediction of one window of a long text."""

    start: int
    """First character in the cleaned text."""
    end: int
    probabilities: tuple[float, float, float]
    """As those of `Classification`."""


@dataclass(frozen=True)
class Classification:
    """The prediction of one text."""

    label: str
    confidence: float
    """Probability of the label, 0 to 1, rounded to 4 decimals."""
    probabilities: tuple[float, float, float]
    """In `LABELS` order, rounded to 4 decimals."""
    windows: tuple[Window, ...] = ()
    """Windows of a text that is longer than the model reads; else empty."""
    tier: str = BASE
    """The tier whose probabilities these are."""
    head: str = GENERAL
    """The head of that tier that decided: a domain, or `general`."""
    sarcasm: float | None = None
    """Probability that it is sarcastic, 0 to 1, rounded to 4 decimals; None: that tier does not predict it."""


@dataclass(frozen=True)
class Timings:
    """Time and sizes of one call."""

    texts: int
    tokenize_s: float
    """Cleaning included."""
    inference_s: float
    batches: int
    tokens: int
    padded_tokens: int


class Classifier:
    """Classify texts with a bundle. Thread-safe: the engine and the tokenizer may be called from several threads."""

    def __init__(
        self, bundle: Bundle, *, threads: int | None = None, token_budget: int = TOKEN_BUDGET, engine: Engine | None = None
    ) -> None:
        """Load the model.

        Args:
            bundle: A verified bundle.
            threads: Threads of one call; None: the process's CPU quota.
            token_budget: Padded tokens of one run, at least one text.
            engine: The bundle's model, loaded; None: on ONNX Runtime.

        Raises:
            BundleError: The model cannot be loaded, or its inputs or outputs are not as expected.
        """
        self.bundle = bundle
        self.languages = bundle.manifest.languages
        self.points = bundle.manifest.points
        self.token_budget = token_budget
        self.threads = threads or cpu_quota()
        limit_tokenizer_threads(self.threads)
        self._tokenizer = load_tokenizer(bundle.directory / TOKENIZER, max_length=bundle.manifest.max_length)
        self._fill = pad_id(self._tokenizer)
        self.engine = engine or open_engine(DEFAULT_ENGINE, bundle.directory / MODEL, self.threads)
        self.name = on_engine(bundle.manifest.version, self.engine.name)
        """Version of the bundle; with the engine if that is not the default one."""
        manifest = bundle.manifest
        self._models = {BASE: _TierModel(self.name, self.engine, manifest)}
        for name, tier in manifest.tiers.items():
            small = open_engine(DEFAULT_ENGINE, bundle.directory / tier_file(name), self.threads)
            self._models[name] = _TierModel(f"{manifest.version}, tier {name}", small, tier)
        thresholds = manifest.thresholds
        self._thresholds = None if thresholds is None else np.array([thresholds.get(label, 0.0) for label in LABELS])

    def point(self, tier: str) -> OperatingPoint:
        """Return the operating point of a tier of this bundle, or of `auto`.

        Raises:
            BundleError: The bundle has no such tier.
        """
        return point_named(tier, self.bundle.manifest.tiers, self.bundle.manifest.points)

    def predict_proba(self, texts: Sequence[str], tier: str = BASE, *, domains: Domains = None) -> np.ndarray:
        """Probabilities, float32, shape (N, 3), columns in `LABELS` order; (0, 3) for no texts."""
        return self._predict([clean(text) for text in texts], self.point(tier), domains).proba

    def predict_sarcasm(self, texts: Sequence[str], tier: str = BASE) -> np.ndarray | None:
        """Return the probability that each text is sarcastic, float32, shape (N,); None: the model does not predict it.

        Where `auto` mixes a tier that does with one that does not, those of the second are nan.
        """
        found = self._predict([clean(text) for text in texts], self.point(tier), None).sarcasm
        return None if np.isnan(found).all() else found

    def classify(self, texts: Sequence[str], tier: str = BASE, *, domains: Domains = None) -> list[Classification]:
        """Classify N texts; N predictions in the same order. A text that is blank after cleaning gets a prediction too.

        Args:
            texts: Raw.
            tier: A tier of the bundle, `auto`, or one of its operating points.
            domains: The domain of each text, or None where it is not known; None: of all.

        Raises:
            BundleError: The bundle has no such tier.
        """
        return self.classify_timed(texts, tier, domains=domains)[0]

    def classify_timed(
        self, texts: Sequence[str], tier: str = BASE, *, domains: Domains = None
    ) -> tuple[list[Classification], Timings]:
        """As `classify`, with timings."""
        started = time.perf_counter()
        cleaned = [clean(text) for text in texts]
        cleaning_s = time.perf_counter() - started
        predictions, timings = self.classify_cleaned(cleaned, tier, domains=domains)
        return predictions, replace(timings, tokenize_s=timings.tokenize_s + cleaning_s)

    def classify_cleaned(
        self, texts: Sequence[str], tier: str = BASE, *, domains: Domains = None
    ) -> tuple[list[Classification], Timings]:
        """As `classify_timed`, for texts that `clean` has made: they are not cleaned again."""
        found = self._predict(texts, self.point(tier), domains)
        decided, heads = self._decide(found).tolist(), self._heads(found, domains)
        rounded = _rounded(found.proba)
        predictions = [
            Classification(
                LABELS[k],
                row[k],
                row,
                self._windows(texts[index], found.long[index]) if index in found.long else (),
                by,
                head,
                None if math.isnan(sarcasm) else sarcasm,
            )
            for index, (k, row, by, head, sarcasm) in enumerate(
                zip(decided, rounded, found.tiers, heads, np.round(found.sarcasm.astype(np.float64), 4).tolist(), strict=True)
            )
        ]
        return predictions, found.timings

    def _decide(self, found: "_Predicted") -> np.ndarray:
        """Decide on class ids, int64, shape (N,): the most probable label, or neutral where `base` is below its threshold."""
        proba = found.proba
        decided = proba.argmax(axis=1)
        if self._thresholds is not None:
            rows = np.arange(len(proba))
            low = (proba[rows, decided] < self._thresholds[decided]) & np.array(
                [tier == BASE for tier in found.tiers], dtype=bool
            )
            decided = np.where(low, _NEUTRAL, decided)
        return decided

    def _windows(self, text: str, proba: np.ndarray) -> tuple[Window, ...]:
        bounds = window_bounds(self._tokenizer, text)
        return tuple(Window(start, end, row) for (start, end), row in zip(bounds, _rounded(proba), strict=True))

    def _heads(self, found: "_Predicted", domains: Domains) -> list[str]:
        """Return the head that decided on each text: of the tier whose probabilities count."""
        if domains is None:
            return [GENERAL] * len(found.tiers)
        return [self._models[tier].head_of(domain) for tier, domain in zip(found.tiers, domains, strict=True)]

    def _predict(self, texts: Sequence[str], point: OperatingPoint, domains: Domains) -> "_Predicted":
        """Classify cleaned texts on the tier of the point, and on `base` where its threshold asks for it."""
        started = time.perf_counter()
        windows = encode_windows(self._tokenizer, list(texts)) if len(texts) else []
        tokenized = time.perf_counter()
        proba, sarcasm, long, counts = self._run(windows, self._models[point.tier], domains)
        tiers = [point.tier] * len(windows)
        if point.threshold and (unsure := np.flatnonzero(proba.max(axis=1) < point.threshold).tolist()):
            theirs = None if domains is None else [domains[index] for index in unsure]
            better, better_sarcasm, better_long, more = self._run(
                [windows[index] for index in unsure], self._models[BASE], theirs
            )
            proba[unsure], sarcasm[unsure] = better, better_sarcasm
            long |= {unsure[index]: rows for index, rows in better_long.items()}
            counts += more
            for index in unsure:
                tiers[index] = BASE
        runs, tokens, padded = counts.tolist()
        timings = Timings(len(windows), tokenized - started, time.perf_counter() - tokenized, runs, tokens, padded)
        return _Predicted(proba, sarcasm, tiers, long, timings)

    def _run(
        self, windows: list[list[list[int]]], model: "_TierModel", domains: Domains
    ) -> tuple[np.ndarray, np.ndarray, dict[int, np.ndarray], np.ndarray]:
        """Return probabilities of each text, its probability of sarcasm, the probabilities of the windows of long texts by
        position, and runs, tokens, padded tokens.
        """
        rows = [row for parts in windows for row in parts]
        lengths = [len(row) for row in rows]
        order = sorted(range(len(rows)), key=lengths.__getitem__, reverse=True)
        heads = model.positions(domains, windows)
        logits = np.empty((len(rows), len(LABELS)), dtype=np.float32)
        sarcasm = np.full(len(rows), np.nan, dtype=np.float32)
        runs, padded = plan_runs([lengths[i] for i in order], self.token_budget), 0
        for start, end in runs:
            batch = order[start:end]
            input_ids, mask = pad([rows[i] for i in batch], self._fill)
            logits[batch], found = model.run(input_ids, mask, None if heads is None else heads[batch])
            if found is not None:
                sarcasm[batch] = found
            padded += input_ids.size
        proba, long = _by_text(model.softmax(logits), windows)
        return proba, _mean_by_text(sarcasm, windows), long, np.array([len(runs), sum(lengths), padded])


@dataclass(frozen=True)
class _Predicted:
    proba: np.ndarray
    sarcasm: np.ndarray
    """Probability of each text, float32, shape (N,); nan where its tier does not predict it."""
    tiers: list[str]
    """Of each text, the tier whose probabilities these are."""
    long: dict[int, np.ndarray]
    """Probabilities of the windows of long texts, by the position of the text."""
    timings: Timings


class _TierModel:
    """The model of one tier."""

    def __init__(self, name: str, engine: Engine, about: Manifest | Tier) -> None:
        self._name, self._engine = name, engine
        self._scale = np.float32(1.0 / about.temperature)
        self._heads = {head: index for index, head in enumerate(about.heads)}
        self._shape = (len(LABELS),) if len(about.heads) == 1 else (len(about.heads), len(LABELS))
        self._sarcasm = about.sarcasm

    def head_of(self, domain: str | None) -> str:
        return domain if domain in self._heads else GENERAL

    def positions(self, domains: Domains, windows: list[list[list[int]]]) -> np.ndarray | None:
        """Return the position of the head of each window, int64; None: `general` of all."""
        if domains is None or len(self._heads) == 1:
            return None
        return np.repeat([self._heads.get(one or GENERAL, 0) for one in domains], [len(parts) for parts in windows])

    def run(self, input_ids: np.ndarray, mask: np.ndarray, heads: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the logits of the head of each row, `general` without heads, float32, shape (N, 3), and the probability that
        each is sarcastic, shape (N,), or None.
        """
        logits, sarcasm = self._engine.run(input_ids, mask)
        if logits.shape != (len(input_ids), *self._shape):
            raise BundleError(
                f"The model of {self._name} gives the wrong shape.",
                found=logits.shape,
                expected=(len(input_ids), *self._shape),
            )
        if len(self._heads) > 1:
            logits = logits[:, 0] if heads is None else logits[np.arange(len(heads)), heads]
        return logits, None if self._sarcasm is None else self._sarcastic(sarcasm, self._sarcasm)

    def _sarcastic(self, logits: np.ndarray | None, calibration: Calibration) -> np.ndarray:
        if logits is None or not np.isfinite(logits).all():
            raise BundleError(
                f"The model of {self._name} predicts no sarcasm.",
                found="no output `sarcasm`" if logits is None else "logits that are not finite",
                remedy="Export it again.",
            )
        return 1 / (1 + np.exp(-(calibration.scale * logits[:, 0] + calibration.offset)))

    def softmax(self, logits: np.ndarray) -> np.ndarray:
        if not np.isfinite(logits).all():
            raise BundleError(f"Logits of {self._name} are not finite.", remedy="Export it again.")
        scaled = logits * self._scale
        scaled -= scaled.max(axis=1, keepdims=True, initial=-np.inf)
        np.exp(scaled, out=scaled)
        scaled /= scaled.sum(axis=1, keepdims=True)
        return scaled


def open_classifier(directory: Path, threads: int | None = None) -> Classifier:
    """Open the classifier of a bundle's folder; a process that measures it imports this module and nothing else.

    Raises:
        BundleError: The folder holds no bundle, or a damaged one.
    """
    return Classifier(read_bundle(directory), threads=threads)


def plan_runs(lengths: Sequence[int], token_budget: int) -> list[tuple[int, int]]:
    """Cut texts into runs with the least total cost: padded tokens, plus `RUN_TOKENS` per run.

    The optimum, by dynamic programming (3 µs per text). A greedy cut at the budget needs 10 to 30 % more CPU time for batches of
    32 and 64 tweets, as a third and a fifth of its tokens are padding.

    Args:
        lengths: Tokens of each text, the longest first.
        token_budget: Padded tokens of one run, at least one text.

    Returns:
        Start and end of each run, in order.
    """
    least, cut_before = [0.0], [0]
    for end in range(1, len(lengths) + 1):
        best, where = math.inf, end - 1
        for start in range(end - 1, max(-1, end - 1 - RUN_TEXTS), -1):
            padded = lengths[start] * (end - start)
            if padded > token_budget and start < end - 1:
                break
            if (cost := least[start] + RUN_TOKENS + padded) < best:
                best, where = cost, start
        least.append(best)
        cut_before.append(where)
    runs, end = [], len(lengths)
    while end:
        runs.append((cut_before[end], end))
        end = cut_before[end]
    return runs[::-1]


def _by_text(proba: np.ndarray, windows: list[list[list[int]]]) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Average rows of windows to rows of texts; also return the windows of texts that have several."""
    if len(proba) == len(windows):
        return proba, {}
    texts, long, start = np.empty((len(windows), len(LABELS)), dtype=np.float32), {}, 0
    for index, parts in enumerate(windows):
        mine = proba[start : start + len(parts)]
        if len(parts) > 1:
            long[index] = mine
        texts[index] = mine[0] if len(parts) == 1 else np.average(mine, axis=0, weights=[len(part) for part in parts])
        start += len(parts)
    return texts, long


def _mean_by_text(values: np.ndarray, windows: list[list[list[int]]]) -> np.ndarray:
    """Average numbers of windows to numbers of texts, weighted by tokens."""
    if len(values) == len(windows):
        return values
    tokens = np.array([len(part) for parts in windows for part in parts])
    starts = np.cumsum([0, *(len(parts) for parts in windows[:-1])])
    return (np.add.reduceat(values * tokens, starts) / np.add.reduceat(tokens, starts)).astype(np.float32)


def _rounded(proba: np.ndarray) -> list[tuple[float, float, float]]:
    return [(row[0], row[1], row[2]) for row in np.round(proba.astype(np.float64), 4).tolist()]
