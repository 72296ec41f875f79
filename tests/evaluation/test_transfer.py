"""The domain-transfer matrix."""

import numpy as np
import pytest

from evaluation.plots import plot_transfer
from evaluation.transfer import GENERALIST, HEADS, Transfer, as_markdown, transfer_matrix


def proba(labels, right):
    """Probabilities that are right for the first `right` of every four rows."""
    predicted = np.where(np.arange(len(labels)) % 4 < right, labels, (labels + 1) % 3)
    return np.eye(3)[predicted] * 0.8 + 0.2 / 3


@pytest.fixture(scope="module")
def matrix():
    domains = ["tweets"] * 120 + ["news"] * 60
    labels = np.arange(180) % 3
    first = np.array(domains) == "tweets"
    probas = {
        "tweets": np.where(first[:, None], proba(labels, 3), proba(labels, 1)),
        "news": np.where(first[:, None], proba(labels, 1), proba(labels, 4)),
        GENERALIST: proba(labels, 2),
        HEADS: proba(labels, 4),
    }
    cells, gains = transfer_matrix(domains, labels, probas, resamples=200)
    return Transfer("MiniLM-L6", 1, 1, {"tweets": 6000, "news": 900}, cells, gains)


def test_every_model_is_evaluated_on_every_domain(matrix):
    assert matrix.domains == ("tweets", "news") and matrix.learned == ("tweets", "news", GENERALIST, HEADS)
    found = {(cell.learned, cell.domain): (cell.n, round(cell.macro_recall.value, 2)) for cell in matrix.cells}
    assert found["tweets", "tweets"] == (120, 0.75) and found["tweets", "news"] == (60, 0.25)
    assert found["news", "news"] == (60, 1.0) and found[HEADS, "tweets"] == (120, 1.0)
    assert [(gain.domain, gain.over) for gain in matrix.gains] == [
        ("tweets", GENERALIST),
        ("tweets", "tweets"),
        ("news", GENERALIST),
        ("news", "news"),
    ]
    assert [round(gain.difference.value, 2) for gain in matrix.gains] == [0.5, 0.25, 0.5, 0.0]


def test_it_is_stored_shown_and_drawn(matrix, tmp_path):
    assert Transfer.from_dict(matrix.to_dict()).to_dict() == matrix.to_dict()
    page = as_markdown(matrix)
    assert "| tweets | 75.0 [" in page and "| news | news | +0.0 [+0.0, +0.0] |" in page and "tweets 6,000, news 900" in page
    assert page.count(" * |") == 3
    assert plot_transfer(matrix, tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
