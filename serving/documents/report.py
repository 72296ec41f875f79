"""One result of a document from the predictions of its windows.

The probabilities of a document or a section are the mean of those of its windows, weighted by their words. The contribution of a
sentence is (P(positive) - P(negative)) of the sentence alone, times its share of the document's words: how far it moves the
document to one side. Of each 64 windows, the sentences of the 16 that move it most are classified alone, which costs a quarter
more; the ten sentences with the largest contributions, in either direction, are shown.
"""

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from data.cleaning import clean
from data.labels import LABELS
from data.language import Languages
from serving.classifier import Classification
from serving.documents.parsed import Document
from serving.documents.windows import Window

STRONGEST_WINDOWS = 16
"""Windows of a part whose sentences are classified alone."""
STRONGEST = 10
_NEGATIVE, _POSITIVE = LABELS.index("negative"), LABELS.index("positive")
Result = dict[str, Any]


def text_of(window: Window) -> str:
    """Return the cleaned text of a window."""
    return clean(" ".join(window.sentences))


def about(document: Document, tier: str, languages: Languages) -> Result:
    """Return what the result of a document begins with."""
    warning = languages.warning(document.language)
    return {
        "document": document.name,
        "form": document.form,
        "language": document.language,
        **({"warning": warning} if warning else {}),
        "tier": tier,
    }


def domain_of(document: Document, domain: str | None) -> str | None:
    """Return the domain that is asked for: the given one, else `finance` for a filing."""
    return domain or ("finance" if document.form else None)


def strongest_sentences(windows: Sequence[Window], predictions: Sequence[Classification]) -> list[tuple[int, int]]:
    """Return the sentences to classify alone, as positions of windows and of sentences in them.

    Args:
        windows: A part of a document, one of `Document.parts`.
        predictions: Theirs.
    """
    strength = [abs(_score(one.probabilities)) * _words(window) for window, one in zip(windows, predictions, strict=True)]
    chosen = heapq.nlargest(STRONGEST_WINDOWS, range(len(windows)), key=strength.__getitem__)
    return [(place, index) for place in sorted(chosen) for index in range(len(windows[place].sentences))]


def window_results(
    windows: Sequence[Window],
    predictions: Sequence[Classification],
    chosen: Sequence[tuple[int, int]],
    alone: Sequence[Classification],
) -> list[Result]:
    """Return a result for each window: JSON values, from which `Report` is made.

    Args:
        windows: A part of a document.
        predictions: Theirs.
        chosen: Of `strongest_sentences`.
        alone: The predictions of these sentences.
    """
    results: list[Result] = [
        {
            "section": window.section,
            "words": _words(window),
            "sentences": len(window.sentences),
            "probabilities": prediction.probabilities,
            "domain": prediction.head,
            "strongest": [],
        }
        for window, prediction in zip(windows, predictions, strict=True)
    ]
    scored = [
        (abs(_score(one.probabilities)) * len(_sentence(windows, at).split()), at, one)
        for at, one in zip(chosen, alone, strict=True)
    ]
    for _, (place, index), prediction in heapq.nlargest(STRONGEST, scored, key=lambda one: one[0]):
        sentence = {
            "text": windows[place].sentences[index],
            "position": windows[place].first + index,
            "label": prediction.label,
            "probabilities": prediction.probabilities,
        }
        results[place]["strongest"].append(sentence)
    return results


class _Sums:
    """Sums over windows."""

    def __init__(self) -> None:
        self.words = self.sentences = self.windows = 0
        self._probabilities = np.zeros(len(LABELS))

    def add(self, result: Result) -> None:
        self.words += result["words"]
        self.sentences += result["sentences"]
        self.windows += 1
        self._probabilities += np.array(result["probabilities"]) * result["words"]

    def to_dict(self) -> Result:
        mean = np.round(self._probabilities / max(1, self.words), 4).tolist()
        return {
            "label": LABELS[int(np.argmax(mean))] if self.windows else None,
            "probabilities": dict(zip(LABELS, mean, strict=True)),
            "words": self.words,
            "sentences": self.sentences,
            "windows": self.windows,
        }


class Report:
    """The result of a document, made window by window; holds the sums and ten sentences."""

    def __init__(self, about: Result, sections: Sequence[str]) -> None:
        """Make it.

        Args:
            about: What the result begins with.
            sections: Titles.
        """
        self._about, self._titles = about, sections
        self._whole, self._sections = _Sums(), [_Sums() for _ in sections]
        self._domain, self._failed = "", 0
        self._strongest: list[tuple[float, int, Result]] = []
        self._count = 0

    def add(self, result: Result) -> None:
        """Add a result of `window_results`, or the error of a window that could not be classified."""
        if "error" in result:
            self._failed += 1
            return
        self._domain = result["domain"]
        self._whole.add(result)
        self._sections[result["section"]].add(result)
        for sentence in result["strongest"]:
            weight = _score(sentence["probabilities"]) * len(sentence["text"].split())
            self._count += 1
            entry = (abs(weight), -self._count, sentence | {"section": self._titles[result["section"]], "contribution": weight})
            (heapq.heappush if len(self._strongest) < STRONGEST else heapq.heappushpop)(self._strongest, entry)

    def to_dict(self) -> Result:
        """Return the result: JSON values."""
        words = max(1, self._whole.words)
        strongest = [sentence for _, _, sentence in sorted(self._strongest, reverse=True)]
        return {
            **self._about,
            "domain": self._domain,
            **self._whole.to_dict(),
            "failed_windows": self._failed,
            "sections": [
                {"title": title, "share": round(sums.words / words, 4), **sums.to_dict()}
                for title, sums in zip(self._titles, self._sections, strict=True)
                if sums.windows
            ],
            "strongest": [
                {
                    "text": one["text"],
                    "section": one["section"],
                    "position": one["position"],
                    "label": one["label"],
                    "probabilities": dict(zip(LABELS, one["probabilities"], strict=True)),
                    "contribution": round(one["contribution"] / words, 6),
                }
                for one in strongest
            ],
        }


def _score(probabilities: Sequence[float]) -> float:
    return probabilities[_POSITIVE] - probabilities[_NEGATIVE]


def _words(window: Window) -> int:
    return sum(len(sentence.split()) for sentence in window.sentences)


def _sentence(windows: Sequence[Window], at: tuple[int, int]) -> str:
    return windows[at[0]].sentences[at[1]]
