"""`predictions.json`: the test rows that the pipeline stores for the pages."""

import json

import numpy as np
import pandas as pd

from orchestration.layout import Layout
from orchestration.steps.predictions import MAX_SHOWN_CHARS, PREDICTIONS, write_predictions


def test_predictions_have_the_labeled_rows_of_the_ranking(tmp_path):
    frame = pd.DataFrame(
        {
            "id": [1, 2, 3, 4],
            "text": ["bad", "x" * 900, "from another dataset", "without a label"],
            "source": ["tweeteval_sentiment", "tweeteval_sentiment", "airline", "tweeteval_sentiment"],
            "label": ["negative", "positive", "neutral", None],
        }
    )
    proba = np.array([[0.9, 0.05, 0.05], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8]])
    write_predictions(Layout(tmp_path), tmp_path, frame, proba)
    found = json.loads((tmp_path / PREDICTIONS).read_text())
    assert found["ids"] == ["1", "2"] and found["labels"] == ["negative", "positive"]
    assert found["predicted"] == ["negative", "neutral"] and found["confidence"] == [0.9, 0.5]
    assert found["texts"] == ["bad", "x" * MAX_SHOWN_CHARS + "…"]
