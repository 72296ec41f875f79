"""Students that miss a rule of the gate for tiers are no tier of the bundle."""

import pytest

from evaluation.gate import decide_tier
from evaluation.gates import Gates
from orchestration.layout import Layout
from orchestration.steps import tiers
from orchestration.steps.evaluation import evaluate_candidate, load_rules, winner
from serving.bundle import production_bundle

pytestmark = pytest.mark.integration


@pytest.fixture
def layout(trained, monkeypatch):
    for name, value in trained.environment.items():
        if name.startswith("GROUNDSWELL_"):
            monkeypatch.setenv(name, value)
    return Layout.load()


def test_a_student_is_a_tier_if_it_meets_the_rules_and_left_out_by_name_if_not(layout, monkeypatch):
    base, bundle = winner(layout), production_bundle(layout.var)
    (student,) = tiers.students(layout, base)
    rules = load_rules(layout)
    assert all(reason.passed for reason in decide_tier(*(evaluate_candidate(layout, one).row for one in (student, base)), rules))

    strict = Gates(**rules.model_dump() | {"tiers": {"max_fail_rate": {"MFT": 0.0}}})
    monkeypatch.setattr(tiers, "load_rules", lambda _: strict)
    found = tiers.export_tiers(layout, base, bundle)
    assert not found.tiers and not found.files and not found.points
    assert list(found.left_out) == [student.name] and "at most 0 % is allowed" in found.left_out[student.name]
