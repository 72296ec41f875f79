"""A harness for the dashboard's tests: a real service and warehouse server, rows of predictions, and a real browser."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright

from orchestration.demo.stream import CRISIS, demo_messages
from serving.bundle import Bundle
from serving.warehouse.blocks import write_block
from serving.warehouse.connect import connect
from tests.models import tiny_bundle
from tests.serving.running import ROOT, serving, spare_port
from tests.serving.stream_harness import PYTHON, end, wait_for_warehouse
from tests.waiting import until_passes

TEXTS = {
    "tweets": ["Coffee, sun, and a day off. Perfect.", "Meeting moved to three.", "Trains late again, of course."],
    "support": ["How do I change my address?", "Thanks, that solved it!", "The export takes ages since Monday."],
    "reviews": ["Works as described.", "Broke after a week, very disappointed.", "Best purchase of the year!"],
}
PROBABILITIES = {"negative": (0.9, 0.08, 0.02), "neutral": (0.1, 0.8, 0.1), "positive": (0.02, 0.08, 0.9)}
LABEL_BY_START = {
    "Coffee": "positive",
    "Trains": "negative",
    "Thanks": "positive",
    "The export": "negative",
    "Broke": "negative",
    "Best": "positive",
}


LABELS = ("negative", "neutral", "positive")
SIZES: dict[str, Any] = {"1440": {"width": 1440, "height": 1000}, "390": {"width": 390, "height": 844}}
HOSTILE_TEXT = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script> & <b>bold</b>"


def label_of(text: str) -> str:
    """Return the label of one of the texts above."""
    if text in CRISIS:
        return "negative"
    return next((label for start, label in LABEL_BY_START.items() if text.startswith(start)), "neutral")


def row(offset: int, at: datetime, source: str, text: str, **changes: Any) -> dict[str, Any]:
    """Return a row of the table of predictions."""
    label = changes.get("label", label_of(text))
    return {
        "topic": "shown",
        "partition": 0,
        "offset": offset,
        "id": f"m{offset}",
        "text": text,
        "source": source,
        "created_at": at,
        "produced_at": at,
        "predicted_at": at + timedelta(milliseconds=90),
        "written_at": at + timedelta(milliseconds=240),
        "label": label,
        "confidence": max(PROBABILITIES[label]),
        "probabilities": PROBABILITIES[label],
        "sarcasm": None,
        "tier": "base",
        "model_version": "minilm-1",
        **changes,
    }


def write(client: Any, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows to the warehouse as a worker does."""
    rows = list(rows)
    if not rows:
        return
    offsets = [each["offset"] for each in rows]
    block = [json.dumps(each, default=datetime.isoformat).encode() for each in rows]
    write_block(client, "shown", block, {0: (min(offsets), max(offsets))})


def story(began: float, until: float, first: int = 0) -> list[dict[str, Any]]:
    """Return the demo's messages up to `until` as rows."""
    rows = []
    for message in demo_messages(began, TEXTS):
        if message.at >= until:
            return rows
        at = datetime.fromtimestamp(message.at, UTC)
        rows.append(row(first + len(rows), at.replace(microsecond=at.microsecond // 1000 * 1000), message.source, message.text))
    return rows


@contextmanager
def running_story(harness: "DashboardHarness", rows_before: int, began: float) -> Iterator[None]:
    """Write the demo's messages after the first `rows_before` at their times, until the block ends."""
    stop = threading.Event()

    def feed() -> None:
        """Write all due messages in one block, so that a busy machine is late by one block at most."""
        numbered = enumerate(demo_messages(began, TEXTS))
        offset, message = next(each for each in numbered if each[0] >= rows_before)
        with harness.client() as client:
            while not stop.wait(max(0.0, message.at - time.time())):
                due = []
                while message.at <= time.time():
                    due.append(row(offset, datetime.fromtimestamp(message.at, UTC), message.source, message.text))
                    offset, message = next(numbered)
                write(client, due)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def count_labels(client: Any, since: datetime, until: datetime | None = None) -> Counter[str]:
    """Count the labels with an event time from `since` to `until`, from the rows themselves: no rollup, no FINAL."""
    rows = client.query(
        "SELECT label, count() FROM (SELECT topic, partition, offset, argMax(label, predicted_at) AS label, "
        "any(coalesce(created_at, produced_at)) AS at FROM predictions GROUP BY topic, partition, offset) "
        "WHERE at >= {since:DateTime64(3, 'UTC')} AND at < {until:DateTime64(3, 'UTC')} GROUP BY label",
        parameters={"since": since, "until": until or datetime(2100, 1, 1, tzinfo=UTC)},
    ).result_rows
    return Counter({str(label): int(count) for label, count in rows})


class DashboardHarness:
    """A service with a warehouse. Both can be stopped and started again at the same addresses."""

    def __init__(self, folder: Path, bundle: Callable[[Path], Bundle] | None = None, **settings: str) -> None:
        self.folder, self.var, self.port, self.settings = folder, folder / "var", spare_port(), settings
        self.bundle = bundle(folder / "tiny") if bundle else tiny_bundle(folder / "tiny", targets=True)
        self.url = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def service(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the service, on the same port each time."""
        with serving(self.bundle, self.folder, port=self.port, **self.settings) as (_, process):
            yield process

    @contextmanager
    def warehouse_server(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the warehouse server, the process that holds the embedded ClickHouse."""
        environment = {"GROUNDSWELL_PATHS__VAR_DIR": str(self.var), "GROUNDSWELL_WAREHOUSE__PORT": str(spare_port())}
        with (self.folder / "warehouse.log").open("ab") as log:
            process = subprocess.Popen(
                [*PYTHON, "warehouse", "serve"],
                cwd=ROOT,
                env=os.environ | environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        try:
            wait_for_warehouse(self.var)
            yield process
        finally:
            end(process)

    def client(self) -> Any:
        """Open a client of the warehouse."""
        return connect(self.var, own=False)


@contextmanager
def browsing() -> Iterator[Browser]:
    """Run the system's Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "chromium is missing: make system installs it"
    expect.set_options(timeout=240_000)  # the suite shares two CPUs with brokers and other tests
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def put_normal(client: Any, source: str, means: dict[datetime, float], threshold: float) -> None:
    """Write the normal values of a source by minute, as the alert process does."""
    columns = ["source", "bucket", "mean", "variance", "drift", "threshold"]
    client.insert(
        "normal_minute", [[source, at, mean, 0.4, 0.0005, threshold] for at, mean in means.items()], column_names=columns
    )


def number(locator):
    return int("".join(filter(str.isdigit, locator.inner_text())))


def wait_for_counts(page, wanted):
    """Wait until the page shows these counts for its period."""

    def check():
        assert {label: number(page.get_by_test_id(f"count-{label}")) for label in LABELS} == wanted

    until_passes(check, every_s=0.1)
    assert number(page.get_by_test_id("messages-total")) == sum(wanted.values())


def total(client, since):
    counts = count_labels(client, since)
    return {label: counts[label] for label in LABELS}


def has_no_violation(page):
    """Check the current state of the page with axe-core."""
    page.add_script_tag(path=ROOT / "serving" / "dashboard" / "node_modules" / "axe-core" / "axe.min.js")
    violations = page.evaluate("axe.run()")["violations"]
    assert not violations, [(each["id"], each["nodes"][0]["html"][:200]) for each in violations]
