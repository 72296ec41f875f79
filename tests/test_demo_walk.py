"""The demo as a person watches it: from its start to the end of the crisis, each page compared with the API and the files."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import Page, expect

from data.labels import LABELS
from orchestration.demo.stream import CRISIS_SOURCE
from serving.streaming.alerts.rows import read_alerts, time_of
from serving.warehouse.connect import connect
from tests.serving.dashboard_harness import browsing, count_labels, has_no_violation, number
from tests.serving.running import ROOT
from tests.test_demo import until
from tests.trained import Trained

pytestmark = [
    pytest.mark.integration,
    pytest.mark.soak,  # minutes of a running demo
    pytest.mark.timeout(3600),  # the demo is trained, watched and trained again
]
TRIED = "The parcel came on Tuesday and the box was open."


@contextmanager
def demo(trained: Trained) -> Iterator[tuple["subprocess.Popen[str]", str, dict[str, str]]]:
    """A running demo, what it printed until it was ready, and the addresses that it named; ended by SIGTERM."""
    process = subprocess.Popen(
        ["groundswell", "demo"],
        cwd=ROOT,
        env=trained.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        shown = "".join(until(process, "Ctrl-C stops"))
        yield process, shown, dict(re.findall(r"(Dashboard|Dagster|MLflow)\s+(http://\S+)", shown))
        process.send_signal(signal.SIGTERM)
        assert process.wait(600) == 0
    finally:
        process.terminate()
        process.wait(600)


def test_what_a_person_sees_from_the_start_to_the_end_of_the_crisis(trained: Trained):
    with browsing() as browser, demo(trained) as (process, shown, urls):
        family = psutil.Process(process.pid).children(recursive=True)
        assert "problem" not in shown and set(urls) == {"Dashboard", "Dagster", "MLflow"}
        api = httpx.Client(base_url=urls["Dashboard"], timeout=30)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        problems: list[str] = []
        page.on("console", lambda message: problems.append(f"{page.url}: {message.text}") if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(urls["Dashboard"])
        ready(page, api)
        alert = crisis(page, api, trained)
        history(page, api, trained, alert)
        models(page, api, trained)
        operations(page, api)
        try_it(page, api, trained)
        leaderboard_page(page, trained)
        docs = browser.new_page(bypass_csp=True)  # that of this page allows its own script only, and axe is another
        docs.goto(f"{urls['Dashboard']}/docs")
        has_no_violation(docs)
        mlflow(urls["MLflow"], browser.new_page())
        dagster(urls["Dagster"])
        page.goto(urls["Dashboard"])
        expect(page.get_by_test_id("headline")).to_have_attribute("data-stale", "false")
        assert problems == []
        stopped_stream(page, family)
    assert psutil.wait_procs(family, timeout=120)[1] == [], "everything that the demo started has ended"
    again = trained.run("groundswell demo --once")
    assert again.returncode == 0, f"after one correction\n{again.stdout[-3000:]}{again.stderr[-3000:]}"


def fixed(value: float, digits: int) -> str:
    """As JavaScript's `toFixed` writes it, which rounds halves up."""
    return str(Decimal(value).quantize(Decimal(10) ** -digits, ROUND_HALF_UP))


def ready(page: Page, api: httpx.Client) -> None:
    """The first sight: live, with a history, a normal and the served model; no alert yet."""
    expect(page.get_by_test_id("headline")).to_have_attribute("data-stale", "false")
    model = api.get("/v1/model").json()
    quality = model["metrics"]
    metrics = (
        f"accuracy {100 * quality['accuracy']['value']:.1f} %, macro-recall {100 * quality['macro_recall']['value']:.1f} of 100"
    )
    expect(page.get_by_test_id("served-model")).to_have_text(f"Model {model['version']}: {metrics}")
    expect(page.get_by_test_id("alerts-open")).to_have_text("0")
    expect(page.get_by_test_id("alerts-words")).to_contain_text("normal")
    assert number(page.get_by_test_id("messages-total")) > 2000, "ten minutes of history at six a second"


def crisis(page: Page, api: httpx.Client, trained: Trained) -> dict[str, Any]:
    """The alert opens on the page and closes; card, API and table agree."""
    card = page.get_by_test_id("alert-card").first
    expect(card).to_contain_text(CRISIS_SOURCE, timeout=120_000)
    expect(page.get_by_test_id("alerts-open")).to_have_text("1")
    assert page.title().startswith("(1) ")
    has_no_violation(page)
    expect(card).to_have_attribute("data-open", "false", timeout=240_000)
    expect(page.get_by_test_id("alerts-open")).to_have_text("0")
    [found] = api.get("/v1/panels/alerts", params={"source": CRISIS_SOURCE}).json()["rows"]
    with connect(trained.var, own=False) as client:
        [row] = read_alerts(client, time_of(0.0))
    assert (row.id, row.source, row.volume) == (found["id"], found["source"], found["volume"])
    usual, then = (fixed(50 + 50 * value, 1) for value in (row.baseline_mean, row.moving_average))
    for words in (
        f"more negative: {usual} → {then} points",
        f"z −{fixed(-row.z, 1)}",
        f"{row.volume:,} messages in {row.window_s} s",
    ):
        expect(card).to_contain_text(words)
    for word in row.words:
        expect(card).to_contain_text(word.word)
    card.get_by_role("link", name="Link to this alert").click()
    expect(page.locator(f"[data-alert-id='{row.id}'][aria-current]")).to_be_visible()
    expect(page.get_by_text("is not a filter")).to_have_count(0)
    return found


def history(page: Page, api: httpx.Client, trained: Trained, alert: dict[str, Any]) -> None:
    """A stretch of the past: counts on the page are those of the API and of the rows themselves."""
    began = datetime.fromisoformat(alert["started_at"]).timestamp() // 60 * 60 - 300
    since, end = (datetime.fromtimestamp(at, UTC) for at in (began, began + 300))
    page.goto(f"{api.base_url}/?from={since:%Y-%m-%dT%H:%M:%SZ}&to={end:%Y-%m-%dT%H:%M:%SZ}")
    with connect(trained.var, own=False) as client:
        rows = count_labels(client, since, end)
    [counts] = api.get("/v1/panels/distribution", params={"since": since.isoformat(), "until": end.isoformat()}).json()["rows"]
    assert {label: counts[label] for label in LABELS} == {label: rows[label] for label in LABELS}
    for label in LABELS:
        expect(page.get_by_test_id(f"count-{label}")).to_have_text(f"{rows[label]:,}")
    expect(page.get_by_test_id("messages-total")).to_have_text(f"{sum(rows.values()):,}")


def models(page: Page, api: httpx.Client, trained: Trained) -> None:
    """One truth about the served model: page, API, leaderboard file, gate."""
    page.goto(f"{api.base_url}/models/")
    model = api.get("/v1/model").json()
    rows = json.loads((trained.var / "leaderboard" / "leaderboard.json").read_text())
    [served] = [row for row in rows if row.get("version") == model["version"]]
    assert served["macro_recall"] == model["metrics"]["macro_recall"]
    table = page.get_by_test_id("table-leaderboard").locator("tbody tr")
    expect(table).to_have_count(len(rows))
    shown = {row.locator("strong").inner_text(): row.locator("td, th").all_inner_texts() for row in table.all()}
    assert set(shown) == {row["candidate"] for row in rows}
    assert [name for name, cells in shown.items() if "production" in cells[0]] == [served["candidate"]]
    for row in rows:
        cell = shown[row["candidate"]]
        assert cell[1] == fixed(row["macro_recall"]["value"], 3), row["candidate"]
        assert [cell[3], cell[4]] == [fixed(row[name]["value"], 3) for name in ("macro_f1", "accuracy")], row["candidate"]
    panel = page.locator(".panel-production")
    expect(panel).to_contain_text(model["version"])
    panel.get_by_text("Model card").click()
    training = model["training"]
    expect(panel).to_contain_text(f"{training['rows']:,} of {training['rows_available']:,} rows")
    expect(panel).to_contain_text(f"{100 * model['metrics']['macro_recall']['value']:.1f}")
    rules = page.get_by_test_id("table-gate").locator("tbody tr")
    expect(rules).to_have_count(len(api.get("/v1/panels/gate").json()["rules"]))
    has_no_violation(page)


def operations(page: Page, api: httpx.Client) -> None:
    """The stream runs, and is shown as running."""
    page.goto(f"{api.base_url}/operations/")
    expect(page.get_by_test_id("stream-state")).to_contain_text("The stream is running, 1 worker, as planned")
    before = api.get("/v1/panels/stream").json()
    expect(page.get_by_test_id("stream-state")).to_contain_text(before["topic"])
    expect(page.get_by_test_id("table-partitions").locator("tbody tr")).to_have_count(len(before["partitions"]))
    expect(page.get_by_test_id("table-workers")).to_contain_text("w1")
    has_no_violation(page)


def try_it(page: Page, api: httpx.Client, trained: Trained) -> None:
    """A text of the user: the page shows the API's prediction, and a correction is stored."""
    page.goto(f"{api.base_url}/try/")
    page.get_by_role("textbox", name="Text in English").fill(TRIED)
    page.get_by_role("button", name="Classify").click()
    [result] = api.post("/v1/classify", json={"texts": [TRIED], "detail": True}).json()["predictions"]
    prediction = page.get_by_test_id("prediction")
    expect(prediction).to_contain_text(result["label"])
    for label in LABELS:
        expect(prediction).to_contain_text(f"{fixed(100 * result['probabilities'][label], 1)} %")
    page.get_by_label("Your name or team").fill("desk")
    wrong = next(label for label in LABELS if label != result["label"])
    page.locator("section", has=page.locator("#title-feedback")).get_by_role("button", name=wrong).click()
    expect(page.get_by_test_id("feedback-status")).to_have_text(f"Saved as {wrong}; used in the next training run.")
    has_no_violation(page)


def leaderboard_page(page: Page, trained: Trained) -> None:
    """The file that the terminal points to names the served model."""
    page.goto((trained.var / "leaderboard" / "leaderboard.html").as_uri())
    rows = json.loads((trained.var / "leaderboard" / "leaderboard.json").read_text())
    markdown = (trained.var / "leaderboard" / "leaderboard.md").read_text()
    text = page.locator("main").inner_text()
    for row in rows:
        value = f"{100 * row['macro_recall']['value']:.1f}"
        assert row["candidate"] in text and value in text and row["candidate"] in markdown and value in markdown
    assert "in production" in text
    has_no_violation(page)


def mlflow(url: str, page: Page) -> None:
    """The address opens on the runs; all have finished, and the parent run has a descriptive name."""
    page.goto(url)
    expect(page.get_by_text("benchmark 20").first).to_be_visible()
    api = f"{url.partition('/#')[0]}/api/2.0/mlflow"
    experiments = httpx.get(f"{api}/experiments/search", params={"max_results": 50}, timeout=60).json()["experiments"]
    found = httpx.post(
        f"{api}/runs/search", json={"experiment_ids": [e["experiment_id"] for e in experiments]}, timeout=60
    ).json()
    states = {run["info"]["run_name"]: run["info"]["status"] for run in found["runs"]}
    assert states and set(states.values()) == {"FINISHED"}, states
    assert any(name.startswith("benchmark ") for name in states)


def dagster(url: str) -> None:
    """Runs are in the job history and can be executed again."""
    query = "{ runsOrError { ... on Runs { results { status jobName hasReExecutePermission repositoryOrigin { id } } } } }"
    runs = httpx.post(f"{url}/graphql", json={"query": query}, timeout=60).json()["data"]["runsOrError"]["results"]
    assert len(runs) >= 4
    assert {run["status"] for run in runs} == {"SUCCESS"}
    assert all(run["repositoryOrigin"] and run["hasReExecutePermission"] for run in runs)


def stopped_stream(page: Page, family: list[psutil.Process]) -> None:
    """When the stream ends, the page shows since when its numbers are stale, and shows no baseline."""
    [supervisor] = [child for child in family if child.is_running() and "up" in child.cmdline() and "stream" in child.cmdline()]
    supervisor.send_signal(signal.SIGTERM)
    supervisor.wait(300)
    expect(page.get_by_test_id("headline")).to_have_attribute("data-stale", "true")
    expect(page.get_by_test_id("headline-asof")).to_contain_text("Data as of")
    expect(page.get_by_test_id("connection")).to_contain_text("stale since")
    expect(page.get_by_test_id("alerts-words")).to_have_text("Unknown since the data stopped")
