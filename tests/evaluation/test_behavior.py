import gzip
import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from data.errors import MalformedData, ModelError, SettingsError
from data.labels import LABEL_IDS
from evaluation.behavior import BehaviorRow, fail_rate_by_kind, load_cases, run_behavior
from evaluation.settings import EvaluationSettings
from evaluation.suites import Case, load_checklist, load_own_suite, sarcastic_cases


class Table:
    """A predictor that returns predictions from a table, and records its calls."""

    name = "table"

    def __init__(self, predictions):
        self.predictions, self.calls = predictions, []

    def predict_proba(self, texts, *, domains=None):
        self.calls.append(list(texts))
        return np.array([self.predictions[text] for text in texts], dtype=np.float32)


NEG, NEU, POS = (0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8)


def _run(case, *predictions):
    return run_behavior(Table(dict(zip(case.texts, predictions, strict=True))), [case])[0]


def _case(kind, texts, **options):
    return Case("s", "t", kind, "c", tuple(texts), **options)


@pytest.mark.parametrize(("prediction", "fails"), [(NEG, 1), (NEU, 0), (POS, 0)])
def test_not_negative_accepts_neutral_or_positive(prediction, fails):
    right = frozenset({LABEL_IDS["neutral"], LABEL_IDS["positive"]})
    assert _run(_case("MFT", ["not bad"], right=right), prediction).fails == fails


@pytest.mark.parametrize(
    ("variant", "fails"),
    [
        (POS, 0),
        ((0.05, 0.35, 0.60), 0),  # less sure, same label
        ((0.1, 0.8, 0.1), 1),
        ((0.02, 0.5, 0.48), 0),  # another label, but p(positive) moved by only 0.02
        ((0.02, 0.62, 0.36), 1),  # another label and p(positive) moved by 0.14
    ],
)
def test_invariance_breaks_when_the_label_changes_by_more_than_the_tolerance(variant, fails):
    original = POS if variant in (POS, (0.05, 0.35, 0.60), (0.1, 0.8, 0.1)) else (0.01, 0.49, 0.50)
    assert _run(_case("INV", ["a", "b"]), original, variant).fails == fails


def test_one_broken_variant_breaks_the_case():
    assert _run(_case("INV", ["a", "b", "c"]), POS, POS, NEG).fails == 1


@pytest.mark.parametrize(
    ("rule", "original", "variant", "fails"),
    [
        ("positive_not_down", NEU, (0.2, 0.8, 0.0), 0),  # down by 0.1, within the tolerance
        ("positive_not_down", POS, (0.2, 0.2, 0.6), 1),
        ("positive_not_up", NEU, (0.0, 0.7, 0.3), 1),
        ("positive_not_up", POS, NEG, 0),
        ("confidence_not_down", NEG, (0.6, 0.2, 0.2), 1),  # the confidence is that of the original's label
        ("confidence_not_down", NEG, (0.9, 0.05, 0.05), 0),
        ("confidence_not_up", NEG, (0.95, 0.05, 0.0), 1),
        ("confidence_not_up", NEG, POS, 0),
    ],
)
def test_a_direction_case_fails_beyond_the_tolerance(rule, original, variant, fails):
    row = _run(_case("DIR", ["a", "b"], rule=rule), original, variant)
    assert (row.fails, row.n) == (fails, 1)


def test_a_neutral_original_is_disregarded_in_confidence_tests():
    row = _run(_case("DIR", ["a", "b"], rule="confidence_not_down"), NEU, NEG)
    assert (row.n, row.fails, row.disregarded) == (0, 0, 1)
    assert np.isnan(row.fail_rate.value) and row.to_dict()["fail_rate"]["value"] is None
    assert str(BehaviorRow.from_dict(row.to_dict())) == str(row)
    assert fail_rate_by_kind([row]) == {}


def test_every_text_is_predicted_once_in_one_call_and_rates_have_intervals():
    right = frozenset({LABEL_IDS["positive"]})
    cases = [_case("MFT", ["x"], right=right), _case("MFT", ["y"], right=right), _case("MFT", ["x"], right=right)]
    table = Table({"x": POS, "y": NEG})
    (row,) = run_behavior(table, cases)
    assert table.calls == [["x", "y"]]
    assert row.n == 3 and row.fail_rate.value == pytest.approx(1 / 3)
    assert 0 < row.fail_rate.low < 1 / 3 < row.fail_rate.high < 1
    assert fail_rate_by_kind([row]) == {"s MFT": pytest.approx(1 / 3)}
    assert run_behavior(table, []) == []


def test_the_temperature_is_applied_before_the_tolerances():
    case = _case("DIR", ["a", "b"], rule="positive_not_down")
    table = Table({"a": (0.05, 0.05, 0.9), "b": (0.12, 0.12, 0.76)})
    assert run_behavior(table, [case])[0].fails == 1
    assert run_behavior(table, [case], temperature=0.2)[0].fails == 0  # sharpened, both are near 1


def test_a_predictor_that_drops_a_text_is_refused():
    class Short:
        name = "short"

        def predict_proba(self, texts, *, domains=None):
            return np.eye(3)[[0] * (len(texts) - 1)]

    with pytest.raises(ModelError, match=r"shape \(1, 3\)"):
        run_behavior(Short(), [_case("INV", ["a", "b"])])


@pytest.mark.parametrize("kind", ["boolean", "object"])
def test_sarcastic_texts_are_cases_of_their_dataset_and_domain_that_are_not_positive(kind):
    rows = [("tweets", "irony", f"so great {n}", n % 2 == 0) for n in range(20)]
    rows += [("news", "headlines", "area man", True), ("tweets", "plain", "a text", None), ("news", "none", "a man", False)]
    frame = pd.DataFrame(rows, columns=["domain", "source", "text", "sarcasm"])
    frame["sarcasm"] = frame["sarcasm"].astype(kind)
    cases = sarcastic_cases(frame, most=6)
    assert cases == sarcastic_cases(frame, most=6)
    assert [case.capability for case in cases] == ["headlines"] + ["irony"] * 6
    assert {(case.domain, case.kind, case.suite) for case in cases} == {("news", "MFT", "sarcasm"), ("tweets", "MFT", "sarcasm")}
    assert all(case.texts[0] in {f"so great {n}" for n in range(0, 20, 2)} for case in cases[1:])
    asked = []

    class ByDomain:
        name = "by domain"

        def predict_proba(self, texts, *, domains=None):
            asked.extend(zip(texts, domains, strict=True))
            return np.array([(0.0, 0.4, 0.6) if domain == "tweets" else (0.2, 0.5, 0.3) for domain in domains])

    found = {row.test: (row.n, row.fails) for row in run_behavior(ByDomain(), cases)}
    assert found == {"sarcasm of irony is not positive": (6, 6), "sarcasm of headlines is not positive": (1, 0)}
    assert len(asked) == 7 and sarcastic_cases(frame.assign(sarcasm=None)) == []


def test_a_text_is_predicted_once_for_each_domain():
    asked = []

    class Recording:
        name = "recording"

        def predict_proba(self, texts, *, domains=None):
            asked.extend(zip(texts, domains, strict=True))
            return np.tile((0.8, 0.1, 0.1), (len(texts), 1))

    right = frozenset({0})
    cases = [Case("s", test, "MFT", "c", ("x",), right, domain=domain) for test in "ab" for domain in ("general", "news")]
    run_behavior(Recording(), cases)
    assert asked == [("x", "general"), ("x", "news")]


def _write_checklist(folder, groups, mft="ckl-0,good,positive,test,Vocabulary,words\n"):
    suite = folder / "checklist_sentiment"
    suite.mkdir()
    with gzip.open(suite / "mft.csv.gz", "wt") as file:
        file.write("id,text,label,split,capability,test\n" + mft)
    with gzip.open(suite / "perturbation_groups.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(group) + "\n" for group in groups)


def _group(test="add", kind="DIR", description="expect probability of positive to NOT go down (tolerance=0.2)", index=0, n=3):
    texts = [f"{index} {variant}" for variant in range(n)]
    return {
        "test": test,
        "capability": "V",
        "type": kind,
        "description": description,
        "group": index,
        "texts": texts,
    }


def test_checklist_is_read_with_its_rules_and_sampled_with_a_seed(tmp_path):
    groups = [_group(index=i, n=9) for i in range(50)]
    groups += [_group("typos", "INV", "Add one typo", i, 2) for i in range(10)]
    mft = "".join(f"ckl-{i},good {i},not_negative,test,Negation,negations\n" for i in range(40))
    _write_checklist(tmp_path, groups, mft)
    cases = load_checklist(tmp_path, cases_per_test=20, variants_per_case=4, seed=1)
    assert Counter(case.test for case in cases) == {"negations": 20, "add": 20, "typos": 10}
    added = [case for case in cases if case.test == "add"]
    assert {case.rule for case in added} == {"positive_not_down"} and {case.tolerance for case in added} == {0.2}
    assert all(len(case.texts) == 5 and case.texts[0].endswith(" 0") for case in added)
    assert cases == load_checklist(tmp_path, cases_per_test=20, variants_per_case=4, seed=1)
    assert cases != load_checklist(tmp_path, cases_per_test=20, variants_per_case=4, seed=2)
    assert {case.right for case in cases if case.kind == "MFT"} == {frozenset({1, 2})}


def test_an_unknown_expectation_is_named(tmp_path):
    _write_checklist(tmp_path, [_group("odd", description="should rhyme")])
    with pytest.raises(MalformedData, match=r"'odd'[\s\S]*should rhyme"):
        load_checklist(tmp_path)


def test_a_truncated_suite_is_refused_with_the_remedy(tmp_path):
    _write_checklist(tmp_path, [_group(index=i) for i in range(200)])
    path = tmp_path / "checklist_sentiment" / "perturbation_groups.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MalformedData, match=r"cannot be read[\s\S]*Copy the folder again"):
        load_checklist(tmp_path)


def test_without_the_folder_only_our_own_suite_is_loaded(tmp_path):
    cases = load_cases(tmp_path, EvaluationSettings())
    assert {case.suite for case in cases} == {"own"} and load_cases(None, EvaluationSettings()) == cases


def test_our_own_suite_is_complete_and_has_the_stated_size():
    cases = load_own_suite()
    deciding = [case for case in cases if case.capability.startswith("Deciding emoji")]
    assert 60 <= len(cases) - len(deciding) <= 150
    assert len(deciding) >= 300 and {label for case in deciding for label in case.right} == {0, 2}
    assert not any("{}" in text for case in cases for text in case.texts)
    assert {case.kind for case in cases} == {"MFT", "INV", "DIR"}
    assert len({case.texts for case in cases}) == len(cases)
    assert all(len(case.texts) >= 2 for case in cases if case.kind != "MFT")
    assert {label for case in cases for label in case.right} == {0, 1, 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tests: [{test: a, capability: b, kind: MFT, label: positive, text: [x]}]", "tests.0.text"),
        ("tests: [{test: a, capability: b, kind: DIR, groups: [[x, y]]}]", "'a'.*incomplete"),
        ("tests: [{test: a, capability: b, kind: DIR, rule: up, groups: [[x, y]]}]", "tests.0.rule"),
    ],
)
def test_an_invalid_suite_is_refused_with_the_position(tmp_path, text, message):
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_own_suite(path)
