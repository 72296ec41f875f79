"""Sentiment for rows that label sarcasm only, so that the style of their dataset is not mistaken for sarcasm.

A sarcastic row teaches that it is not positive. In TweetEval's training split no tweet has an emoji, and 20 % begin with a
quotation mark; in its test split, in irony and in iSarcasmEval 7, 11 and 19 % have an emoji, and at most 1 % such a mark. So a
model learned that tweets of that style are not positive: docs/training.md has the measurement. The rows of these datasets that
are not sarcastic have the same style, and most of those that the lexicon finds positive are.
"""

from typing import TYPE_CHECKING

from training.heads import SARCASM, SARCASM_ONLY
from training.predictors import NEUTRAL_BAND, VaderPredictor

if TYPE_CHECKING:
    import pandas as pd

SURE = 0.6
"""Least size of VADER's compound of a row that gets a label other than neutral. Of 8,000 training tweets of TweetEval, 73 % of
those above it are positive, 39 % of all; 4 % are negative."""


def label_plain_rows(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows; those that are labeled as not sarcastic, and have no label, get that of VADER where it is sure.

    Rows of a dataset with `sarcasm_only` get none: their sarcastic rows teach nothing about sentiment either.

    Args:
        frame: With `text`, `label` and, if any row is labeled, `sarcasm`.
    """
    import pandas as pd

    if SARCASM not in frame:
        return frame
    plain = frame["label"].isna() & frame[SARCASM].astype("boolean").eq(False).fillna(False).astype(bool)
    if SARCASM_ONLY in frame:
        plain &= ~frame[SARCASM_ONLY].astype(bool)
    texts = frame.loc[plain, "text"]
    compounds = pd.Series(VaderPredictor("vader").compounds(texts.tolist()), texts.index)
    sure = pd.Series(pd.NA, compounds.index, dtype="object")
    sure[compounds >= SURE] = "positive"
    sure[compounds <= -SURE] = "negative"
    sure[compounds.abs() < NEUTRAL_BAND] = "neutral"
    return frame.assign(label=frame["label"].where(~plain, sure.reindex(frame.index)))
