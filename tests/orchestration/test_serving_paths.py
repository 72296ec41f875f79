"""The reconciliation of the serving paths: its texts, its comparison, its report, and the programs that it starts."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import psutil
import pytest

from data.domains import DOMAINS, domains_of_sources
from data.errors import ServiceError, SettingsError, SourceUnavailable
from data.readable import MAX_DOCUMENT_CHARS, MAX_TEXT_CHARS, Unreadable, explain, unreadable
from orchestration.layout import Layout
from orchestration.local.programs import Program
from orchestration.steps.serving_paths import run
from orchestration.steps.serving_paths.compare import LISTED, compare, report_path
from orchestration.steps.serving_paths.in_processes import _SCRIPT, classify_here
from orchestration.steps.serving_paths.outcomes import (
    Outcome,
    numbered,
    of_entry,
    read_outcomes,
    refused,
    requests_of,
    write_outcomes,
)
from orchestration.steps.serving_paths.request import Request, Sent, Skipped
from orchestration.steps.serving_paths.rows import Row, choose_rows, hard_texts, read_rows, source_of, write_rows
from serving.service.schemas import MAX_TEXTS, MAX_WEIGHT, weight
from tests.make import text_of
from tests.models import headed_bundle, tiny_bundle
from tests.waiting import until

LABELS = ("negative", "neutral", "positive")
GOOD = Outcome("positive", (0.1, 0.2, 0.7), None, "v1", "base", "general")
BLANK = refused("is blank")


def write_splits(layout: Layout, count: int = 60) -> None:
    """Write labeled rows of every domain, so that none has to be fetched."""
    names = ["id", "text", "label", "sarcasm", "domain", "source", "split"]
    rows = [
        (f"r{n}", text_of(LABELS[n % 3], n), LABELS[n % 3], None, DOMAINS[n % 5], f"of-{DOMAINS[n % 5]}", ("val", "test")[n % 2])
        for n in range(count)
    ]
    layout.splits.mkdir(parents=True)
    pd.DataFrame(rows, columns=names).to_parquet(layout.splits / "texts.parquet")


@pytest.fixture
def layout():
    made = Layout.load()
    write_splits(made)
    return made


def some_rows(count: int) -> list[Row]:
    return [Row(n, f"text {n}", None, "mine") for n in range(count)]


def report_of(found, expected=None, **fields):
    expected = expected or [(n, GOOD) for n in range(3)]
    return report_path("http", some_rows(3), expected, found, **fields)


# The comparison.


def test_equal_outcomes_in_another_order_are_equal():
    found = report_of([(2, GOOD), (0, GOOD), (1, GOOD)])
    assert (found.state, found.differences, found.listed) == ("equal", {}, ())
    assert (found.rows, found.models, found.tiers, found.heads) == (3, ("v1",), ("base",), ("general",))


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (replace(GOOD, label="neutral"), "label"),
        (replace(GOOD, probabilities=(0.1002, 0.1998, 0.7)), "score"),
        (replace(GOOD, probabilities=(0.1, math.nan, 0.7)), "score"),
        (replace(GOOD, probabilities=(0.1, 0.9)), "score"),
        (replace(GOOD, sarcasm=0.4), "sarcasm"),
        (replace(GOOD, head="finance"), "head"),
        (replace(GOOD, tier="small"), "tier"),
        (BLANK, "refusal"),
        (replace(GOOD, probabilities=(0.1001, 0.1999, 0.7)), None),
        (replace(GOOD, probabilities=(0.1000001, 0.2, 0.7)), None),
        (replace(GOOD, head=None, tier=None), None),
        (replace(GOOD, model="v1+openvino"), None),
    ],
)
def test_difference_of_a_prediction_has_its_kind(other, kind):
    assert compare(GOOD, other) == compare(other, GOOD) == kind


@pytest.mark.parametrize(
    ("other", "kind"), [(refused("text: text is blank"), None), (refused(None), None), (refused("holds null bytes"), "refusal")]
)
def test_refusals_are_equal_unless_both_have_a_reason_and_the_reasons_differ(other, kind):
    assert compare(BLANK, other) == kind


def test_largest_gap_is_that_of_the_rows_that_both_classify():
    found = report_of([(0, GOOD), (1, replace(GOOD, probabilities=(0.15, 0.15, 0.7))), (2, BLANK)])
    assert found.largest_gap == 0.05 and found.differences == {"score": 1, "refusal": 1} and found.refused == 1


def test_missing_row_is_a_difference():
    found = report_of([(0, GOOD), (2, GOOD)])
    assert (found.state, found.differences) == ("different", {"missing": 1})
    assert [(one.row, one.of_path) for one in found.listed] == [(1, "no outcome")]


def test_additional_row_is_a_difference():
    found = report_of([*((n, GOOD) for n in range(3)), (1, GOOD), (-1, GOOD), (7, GOOD)])
    assert found.differences == {"additional": 3} and [one.row for one in found.listed] == [1, -1, -1]


def test_reference_that_lacks_a_row_is_not_equal_either():
    reference = [(0, GOOD), (1, GOOD)]
    assert report_of(reference, reference, is_reference=True).state == "different"
    assert report_of([(n, GOOD) for n in range(3)], reference).differences == {"additional": 1}


def test_report_lists_a_bounded_number_of_differences_with_cut_texts():
    rows = [Row(n, "\x1b" + "x" * 500, "news", "mine") for n in range(LISTED + 5)]
    found = report_path("http", rows, [(row.number, GOOD) for row in rows], [(row.number, BLANK) for row in rows])
    assert found.differences == {"refusal": LISTED + 5} and len(found.listed) == LISTED
    first = found.listed[0]
    assert len(first.text) < 130 and "\x1b" not in first.text and first.domain == "news"
    assert (first.of_reference, first.of_path) == ("positive 0.1000 0.2000 0.7000 (general/base)", "refused: blank text")


def test_probability_of_sarcasm_has_the_same_tolerance():
    sarcastic = replace(GOOD, sarcasm=0.4)
    assert compare(sarcastic, replace(GOOD, sarcasm=0.4001)) is None
    assert compare(sarcastic, replace(GOOD, sarcasm=0.4002)) == compare(sarcastic, replace(GOOD, sarcasm=math.nan)) == "sarcasm"


# Outcomes.


@pytest.mark.parametrize("reason", list(Unreadable))
def test_reason_is_the_same_in_the_words_of_every_path(reason):
    text = "x" * 100_001 if reason is Unreadable.TOO_LONG else None
    assert refused(reason).reason == refused(f"text: text {explain(reason, text, 10_000)}").reason == reason
    assert refused("a page of 3 messages").reason == "a page of 3 messages"


def test_outcomes_are_read_as_they_were_written(tmp_path):
    outcomes = [(0, GOOD), (5, BLANK), (-1, refused(None))]
    write_outcomes(tmp_path / "o.jsonl", outcomes)
    assert read_outcomes(tmp_path / "o.jsonl") == outcomes
    rows = [Row(0, "half \ud83d and \u2028 line", None, "mine"), Row(1, "", "news", "hard")]
    write_rows(tmp_path / "r.jsonl", rows)
    assert read_rows(tmp_path / "r.jsonl") == rows


def test_entry_of_a_response_becomes_an_outcome():
    scores = dict(zip(LABELS, GOOD.probabilities, strict=True))
    entry = {"label": "positive", "confidence": 0.7, "probabilities": scores, "tier": "base", "domain": "general"}
    assert of_entry(entry, "v1") == of_entry(entry | {"model_version": "v1", "probabilities": [0.1, 0.2, 0.7]}) == GOOD
    assert of_entry({"error": "is blank", "id": "x"}) == BLANK


def test_entries_are_numbered_by_their_place_and_one_too_many_by_none():
    assert [number for number, _ in numbered(some_rows(2), [GOOD] * 3)] == [0, 1, -1]


def test_requests_have_one_domain_each_and_stay_within_the_limits():
    rows = [Row(n, "x" * (3 if n % 50 else 90_000), (None, "news")[n % 2], "mine") for n in range(700)]
    requests = list(requests_of(rows))
    assert sorted(row.number for request in requests for row in request) == list(range(700))
    for request in requests:
        assert len({row.domain for row in request}) == 1
        assert len(request) <= MAX_TEXTS and sum(weight(row.text) for row in request) <= MAX_WEIGHT


# The texts.


def test_rows_are_of_every_dataset_domain_and_kind_and_the_same_each_time(layout):
    rows = choose_rows(layout, 80)
    assert rows == choose_rows(layout, 80) and [row.number for row in rows] == list(range(80))
    assert {row.domain for row in rows} == {None, *DOMAINS}
    datasets = [row.kind for row in rows if row.kind.startswith("of-")]
    assert {datasets.count(f"of-{name}") for name in DOMAINS} == {12}, "the datasets take turns"
    assert len(choose_rows(layout, 5_000)) == 60 + 1_250, "as many labeled rows as there are"


def test_hard_texts_are_refused_by_every_reader_or_by_none():
    texts = hard_texts(600)
    assert texts == hard_texts(600) and len({(domain, kind) for _, domain, kind in texts}) == 6 * len({k for *_, k in texts})
    for text, _, kind in texts:
        reasons = {unreadable(text, MAX_TEXT_CHARS), unreadable(text, MAX_DOCUMENT_CHARS)}
        assert len(reasons) == 1 and (reasons != {None}) == kind.startswith("refused"), (kind, text[:50])
    assert max(len(text) for text, *_ in texts if unreadable(text, MAX_DOCUMENT_CHARS) is None) > 5_000
    assert {unreadable(text, MAX_DOCUMENT_CHARS) for text, *_ in texts} == {None, *set(Unreadable) - {Unreadable.NO_TEXT}}


def test_every_domain_has_a_source():
    known = domains_of_sources()
    assert [known.get(source_of(domain)) for domain in (None, *DOMAINS)] == [None, *DOMAINS]


# A run.


@pytest.fixture
def bundle(layout):
    return headed_bundle(layout.var / "bundles" / "headed")


@pytest.fixture
def paths(monkeypatch):
    """Stub paths; the first two classify in this process."""
    stubs = {"classify": classify_here, "http": classify_here}
    monkeypatch.setattr(run, "PATHS", stubs)
    return stubs


def test_paths_with_the_same_bundle_are_equal_and_the_report_is_kept(layout, bundle, paths):
    with pytest.raises(SourceUnavailable, match="not reconciled yet"):
        run.read_reconciliation(layout)
    result = run.reconcile_paths(layout, bundle, rows=60, paths=list(paths))
    assert [path.state for path in result.paths] == ["reference", "equal"] and result.are_equal
    assert result.paths[1].heads == ("finance", "general") and result.paths[1].refused > 0
    assert run.read_reconciliation(layout) == result
    (layout.reconciliation / "report.json").write_text('{"rows": "many"}')
    with pytest.raises(SourceUnavailable, match=r"report\.json cannot be read"):
        run.read_reconciliation(layout)
    page = (layout.reconciliation / "report.md").read_text()
    assert "they are." in page and "| http | equal | 60 |" in page


def test_path_with_another_bundle_is_red(layout, bundle, paths):
    other = tiny_bundle(layout.var / "bundles" / "other", strength=3.0)
    paths["http"] = lambda request: classify_here(replace(request, bundle=other))
    result = run.reconcile_paths(layout, bundle, rows=60, paths=list(paths))
    assert not result.are_equal and result.paths[1].state == "different"
    # Without a head for finance its praise is no blame, and a stronger model is more confident.
    assert result.paths[1].differences["label"] > 0 and result.paths[1].differences["score"] > 0
    assert result.paths[1].models == (other.manifest.version,) != result.paths[0].models
    page = (layout.reconciliation / "report.md").read_text()
    assert "they are not." in page and "## http: " in page and run.read_reconciliation(layout) == result


def unable(request: Request) -> Sent:
    raise Skipped("No Java.")


def failing(request: Request) -> Sent:
    raise ServiceError("The service ended.", found="status 1")


def test_skipped_path_is_not_equal_and_without_another_one_nothing_is(layout, bundle, paths):
    paths["spark"] = unable
    result = run.reconcile_paths(layout, bundle, rows=10, paths=["classify", "http", "spark"])
    assert [(path.state, path.note) for path in result.paths][2] == ("skipped", "No Java.") and result.are_equal
    result = run.reconcile_paths(layout, bundle, rows=10, paths=["classify", "spark"])
    assert result.compared == 0 and not result.are_equal, "nothing was compared"


def test_failed_path_is_red_and_the_next_one_runs(layout, bundle, paths):
    paths["job"] = failing
    result = run.reconcile_paths(layout, bundle, rows=10, paths=["job", "classify", "http"])
    assert [path.state for path in result.paths] == ["failed", "reference", "equal"] and not result.are_equal
    assert result.paths[0].note == "The service ended. found: status 1"


def test_paths_are_chosen_by_name_in_their_own_order():
    assert run.choose_paths(None) == tuple(run.PATHS)
    assert run.choose_paths("spark, classify,http") == ("classify", "http", "spark")
    with pytest.raises(SettingsError, match="Unknown path 'htttp'"):
        run.choose_paths("classify,htttp")
    with pytest.raises(SettingsError, match="Too few paths"):
        run.choose_paths("classify,classify")


def test_process_of_a_path_gets_no_store_key_or_load_control_of_the_user(monkeypatch, tmp_path, layout, bundle):
    for name in ("SERVING__REDIS_URL", "SERVING__FLOOR", "STREAM__BOOTSTRAP", "WAREHOUSE__URL", "LAKEHOUSE__ROOT"):
        monkeypatch.setenv(f"GROUNDSWELL_{name}", "x")
    kept = {"GROUNDSWELL_SERVING__ENGINE": "auto", "GROUNDSWELL_LAKEHOUSE__MASTER": "local[1]", "GROUNDSWELL_PROFILE": "hub"}
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    given = Request(layout, bundle, [], tmp_path).environment(tmp_path / "own")
    assert "x" not in given.values() and kept.items() <= given.items()
    assert given["GROUNDSWELL_PATHS__VAR_DIR"] == str(tmp_path / "own" / "var")
    assert given["GROUNDSWELL_BUNDLE_DIR"] == str(bundle.directory)


def test_bento_is_skipped_with_the_reason_where_none_of_the_bundle_is_built(layout, bundle):
    result = run.reconcile_paths(layout, bundle, rows=10, paths=["classify", "bento"])
    assert result.paths[1].state == "skipped"
    assert result.paths[1].note == f"No Bento of {bundle.manifest.version} is built; `groundswell promote` builds it."


# Programs.


def program(code: str, folder):
    return Program("mine", ["-c", code], os.environ, folder)


def test_program_that_fails_is_an_error_with_the_end_of_its_log(tmp_path):
    failing = program("print('one'); raise SystemExit('no model')", tmp_path)
    with failing as running, pytest.raises(ServiceError, match="mine ended with status 1") as raised:
        running.wait(60, lambda _: None)
    assert raised.value.found == "one / no model"


def test_program_that_takes_too_long_is_an_error_and_is_ended(tmp_path):
    with program("import time; time.sleep(600)", tmp_path) as running:
        with pytest.raises(ServiceError, match=r"mine was not done after 0\.1 s"):
            running.wait(0.1, lambda _: None)
        assert running.status is None
    assert running.status is not None


def test_end_of_the_block_ends_what_the_program_started_however_it_ends(tmp_path):
    child = "import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    with pytest.raises(KeyboardInterrupt), program(f"{child}; sys.stdout.flush(); time.sleep(600)", tmp_path) as running:
        until(lambda: running.log.read_text().strip().isdigit())
        pid = int(running.log.read_text())
        assert psutil.pid_exists(pid)
        raise KeyboardInterrupt
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_program_that_ends_well_is_waited_for(tmp_path):
    with program("print(1)", tmp_path) as running:
        running.wait(60, lambda _: None)
        assert running.status == 0


def test_script_of_mlflow_imports_nothing_of_this_project():
    """Else the model would run this checkout's code and not its own."""
    code = f"import sys, runpy; sys.argv = ['x']; sys.path.insert(0, ''); runpy.run_path({str(_SCRIPT)!r}, run_name='other'); "
    code += "import json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"data", "serving", "orchestration", "training"} & set(json.loads(done.stdout))
