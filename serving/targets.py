"""The sentiment of a text towards one company: the head for finance reads the text with it marked, see data/targets.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from data.cleaning import clean
from data.errors import BundleError
from data.targets import TARGET_DOMAIN, mark_target
from serving.classifier import Classification, Classifier

NO_TARGETS = "Train a model on texts about one company each: GROUNDSWELL_DATA__RECIPE=domains, see docs/training.md."


class Marked(NamedTuple):
    """A text with one company marked."""

    target: str
    text: str
    """Cleaned."""
    mentioned: bool
    """Whether the text names it."""


@dataclass(frozen=True)
class TargetScore:
    """The sentiment of a text towards one company."""

    target: str
    score: float
    """Probability of positive minus probability of negative, -1 to 1, rounded to 4 decimals."""
    mentioned: bool
    """Whether the text names it; if not, the score means little."""


def mark(text: str, targets: Sequence[str]) -> list[Marked]:
    """Return a raw text once for each target, with that target marked."""
    marked = (mark_target(text, target) for target in targets)
    return [Marked(target, clean(one), mentioned) for target, (one, mentioned) in zip(targets, marked, strict=True)]


def score_target(marked: Marked, found: Classification) -> TargetScore:
    """Return the score, from the prediction of the marked text by the head of `TARGET_DOMAIN`."""
    negative, _, positive = found.probabilities
    return TargetScore(marked.target, round(positive - negative, 4), marked.mentioned)


def score_targets(classifier: Classifier, texts: Sequence[str], targets: Sequence[str]) -> list[list[TargetScore]]:
    """Return the score of each target in each of N raw texts, by `base`.

    Raises:
        BundleError: The bundle did not learn to score companies.
    """
    if not classifier.bundle.manifest.targets:
        raise BundleError(
            f"{classifier.bundle.manifest.version} does not score companies.",
            found=f"the target {targets[0]!r}",
            remedy=NO_TARGETS,
        )
    marked = [mark(text, targets) for text in texts]
    every = [one for row in marked for one in row]
    found = iter(classifier.classify_cleaned([one.text for one in every], domains=[TARGET_DOMAIN] * len(every))[0])
    return [[score_target(one, next(found)) for one in row] for row in marked]
