"""A sample of the training rows: shares are kept, and each domain has enough rows for a head."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.make import labeled
from training.finetune import ENOUGH_ROWS, _shares, choose_rows
from training.heads import LEAST_ROWS


def of_domains(sizes):
    return pd.concat(
        [labeled(size // 3).assign(domain=domain, source=f"set of {domain}") for domain, size in sizes.items()],
        ignore_index=True,
    ).sample(frac=1, random_state=0, ignore_index=True)


def test_a_small_sample_has_enough_rows_of_each_domain_for_a_head():
    rows = of_domains({"tweets": 45_000, "support": 9_000, "news": 3_000, "finance": 300})
    rows.loc[rows.index[rows["domain"] == "tweets"][:6_000], "label"] = None  # rows that label sarcasm only
    chosen = choose_rows(rows, 6_000, seed=1)
    found = chosen[chosen["label"].notna()]["domain"].value_counts().to_dict()
    assert abs(len(chosen) - 6_000) <= 10
    assert min(found["support"], found["news"]) >= LEAST_ROWS and abs(found["finance"] - 300) <= 3
    assert found["tweets"] > 3_000 and chosen["label"].isna().sum() > 400
    assert set(chosen.groupby("domain")["label"].nunique()) == {3}
    assert choose_rows(rows, 6_000, seed=1).equals(chosen)
    of_recipe = {"tweets": 51_200, "support": 7_879, "news": 18_763, "finance": 11_156, "reviews": 13_217}
    rows = of_domains(of_recipe)
    for domain, unlabeled in {"tweets": 6_036, "news": 16_087}.items():
        rows.loc[rows.index[rows["domain"] == domain][:unlabeled], "label"] = None
    chosen = choose_rows(rows, 6_000, seed=1)
    assert min(chosen[chosen["label"].notna()]["domain"].value_counts()[list(of_recipe)]) >= ENOUGH_ROWS - 10, "but for rounding"


@given(st.dictionaries(st.sampled_from(["", "a", "b", "c", "d"]), st.integers(1, 50_000), min_size=1), st.integers(30, 20_000))
def test_shares_add_up_to_the_limit_and_none_is_above_all_rows(sizes, limit):
    limit = min(limit, sum(sizes.values()))
    shares = _shares(sizes, limit)
    assert shares.keys() == sizes.keys() and all(0 <= share <= 1 + 1e-9 for share in shares.values())
    assert sum(shares[kind] * size for kind, size in sizes.items()) == pytest.approx(limit)


def test_choose_rows_keeps_the_shares():
    rows = labeled(100)
    chosen = choose_rows(rows, 60, seed=1)
    assert chosen["label"].value_counts().to_dict() == {"negative": 20, "neutral": 20, "positive": 20}
    assert choose_rows(rows, 60, seed=1).equals(chosen)
    assert choose_rows(rows, None, seed=1) is rows
