"""The model panels, from the files of the pipeline."""

import json

from serving.service.panels.models import gate, slices_of


def test_gate_shows_each_rule_with_its_limit_and_value(tmp_path):
    (tmp_path / "gate").mkdir()
    reasons = [
        {"rule": "floor: macro_recall", "passed": True, "found": 0.6714, "limit": 0.55, "text": "enough"},
        {"rule": "parity", "passed": False, "found": "failed", "limit": "passed", "text": "labels differ"},
        {"rule": "not worse than production", "passed": True, "found": None, "limit": None, "text": "nothing to compare with"},
    ]
    decision = {"passed": False, "reasons": reasons, "unchanged": False, "bundle": "minilm-1"}
    (tmp_path / "gate" / "decision.json").write_text(json.dumps(decision))
    found = gate(tmp_path)
    assert (found.passed, found.bundle, found.unchanged, found.missing) == (False, "minilm-1", False, None)
    assert [(rule.rule, rule.passed, rule.found, rule.limit) for rule in found.rules] == [
        ("floor: macro_recall", True, 0.6714, 0.55),
        ("parity", False, "failed", "passed"),
        ("not worse than production", True, None, None),
    ]


def test_missing_decision_has_a_remedy(tmp_path):
    assert "groundswell promote" in (gate(tmp_path).missing or "") and gate(tmp_path).passed is None


def test_slices_of_the_same_rows_are_merged_and_sorted_by_recall():
    def part(name, rows, low, value, high):
        return {"slice": name, "n": rows, "metrics": {"macro_recall": {"value": value, "low": low, "high": high}}}

    row = {
        "macro_recall": {"value": 0.67, "low": 0.65, "high": 0.7},
        "slices": [
            part("source=airline", 300, 0.6, 0.67, 0.73),
            part("domain=support", 300, 0.6, 0.67, 0.73),
            part("domain=news", 300, 0.4, 0.46, 0.52),
            part("negation", 600, 0.6, 0.63, 0.651),
            {"slice": "emoji", "n": 7, "metrics": {}},
            {"slice": "hashtag", "n": 7, "metrics": {}},
        ],
    }
    assert [(each.names, each.weak) for each in slices_of(row)] == [
        (["domain=news"], True),
        (["negation"], False),
        (["source=airline", "domain=support"], False),
        (["emoji"], False),
        (["hashtag"], False),
    ]
