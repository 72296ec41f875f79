from dataclasses import replace

import numpy as np

from evaluation.behavior import BehaviorRow
from evaluation.card import model_card
from evaluation.cost import Cost, Spread
from evaluation.leaderboard import LeaderboardRow
from evaluation.metrics import Estimate, score
from evaluation.sarcasm import SarcasmReport, SarcasmRow
from evaluation.slices import SliceRow
from evaluation.targets import TargetReport

LABELS = np.array([0, 1, 2] * 20)
METRICS = score(LABELS, np.eye(3)[LABELS] * 0.7 + 0.1, resamples=50)


def _row():
    spread = Spread(3480.0, 3400.0, 3600.0)
    low = METRICS | {"macro_recall": Estimate(0.41, 0.35, 0.47)}
    return LeaderboardRow(
        "minilm",
        60,
        METRICS,
        from_scratch=True,
        temperature=1.31,
        cost=Cost(spread, spread, spread, spread, spread, 310, 0.9, 90_869_492, 3, 64, 30),
        slices=(SliceRow("emoji", 40, ("negative",), low), SliceRow("question", 9, (), {})),
        behavior=(BehaviorRow("checklist", "used to, but now", "MFT", "Time", 100, 54, 0, Estimate(0.54, 0.4, 0.6)),),
    )


def test_the_card_states_the_model_its_metrics_and_its_weaknesses():
    float32 = replace(_row(), metrics=METRICS | {"macro_recall": Estimate(0.705, 0.69, 0.72)})
    card = model_card(
        _row(),
        {
            "name": "sentiment",
            "version": "3",
            "dataset": "tweeteval_sentiment",
            "base_model": "MiniLM-L6",
            "base_license": "Apache-2.0",
            "quantization": "int8 dynamic",
            "max_length": 128,
            "data_fingerprint": "abc123",
            "training": {
                "rows": 6000,
                "rows_available": 45277,
                "epochs": 1.0,
                "seed": 7,
                "trained_at": "2026-11-28T06:38:00+00:00",
                "datasets": [
                    {
                        "name": "tweeteval_sentiment",
                        "domain": "tweets",
                        "license": "none stated",
                        "rows": 6000,
                        "rows_available": 45277,
                    },
                ],
            },
            "parity": "12 flips in 10,000",
        },
        float32=float32,
    )
    for text in (
        "sentiment, version 3",
        "Language: English (`en`).",
        "Short texts in English (tweets, support messages, reviews, financial news). Other languages were not measured.",
        "MiniLM-L6",
        "Apache-2.0",
        "int8 dynamic",
        "128 tokens",
        "`abc123`",
        "temperature 1.310",
        "From scratch",
        "| tweeteval_sentiment | tweets | 6,000 | 45,277 | none stated |",
        "on 6,000 of 45,277 rows, 1 epoch, seed 7, finished 2026-11-28 06:38 UTC",
        "the float32 model before export: macro-recall 70.5 [69.0, 72.0], 3,480 µs of CPU per text, 87 MiB.",
        "12 flips in 10,000",
        "| Macro-recall | 100.0",
        "Weakest slice: emoji, 41.0 points",
        "Fails 54 % of 100 cases of “used to, but now”",
        "3,480 µs of CPU per text",
        "87 MiB",
    ):
        assert text in card, text
    assert "| question |" not in card  # too few rows for metrics


def test_the_card_lists_heads_and_what_is_found_of_sarcasm():
    rows = (SarcasmRow("irony", 784, 311, Estimate(0.704, 0.66, 0.74), 0.75, 0.66),)
    able = replace(_row(), sarcasm=SarcasmReport(1.2, -0.1, rows), rephrased=Estimate(0.61, 0.55, 0.67))
    card = model_card(able, {"heads": ["general", "tweets", "news"]})
    assert "Heads: `general`, `tweets`, `news`; that of a text's domain decides, else `general`." in card
    assert "| irony | 784 | 70.4 [66.0, 74.0] | 75.0 | 66.0 |" in card and "in plain words: 61.0 [55.0, 67.0] %" in card
    assert "It does not find emotions" in card and "sarcasm, emotions" in model_card(_row(), {"heads": ["general"]})


def test_the_card_has_how_well_companies_are_scored():
    found = TargetReport(409, Estimate(0.71, 0.66, 0.75), 48, Estimate(0.5, 0.36, 0.64), 150, Estimate(0.96, 0.92, 0.98))
    card = model_card(replace(_row(), targets=found), {"targets": True})
    assert "| Correlation with the scores | 409 texts | 0.71 [0.66, 0.75] |" in card
    assert "| Right order of two companies, % | 48 pairs | 50.0 [36.0, 64.0] |" in card
    assert "scores companies that a request names" in card and "scores companies" not in model_card(_row(), {})


def test_unknown_values_are_marked():
    card = model_card(_row(), {})
    assert card.count("not stated") >= 5 and "Datasets: not stated" in card
