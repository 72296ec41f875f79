"""The documentation of the API: complete, correct and accessible; every sample in it runs."""

import contextlib
import io
import re
import shutil
import subprocess
from html import unescape
from types import SimpleNamespace

import httpx
import pytest
from playwright.sync_api import expect

from serving.service.docs.openapi import openapi
from serving.service.docs.page import docs_page
from serving.service.docs.prose import TAGS
from serving.service.docs.samples import BASE, KEY_VARIABLE
from serving.service.jobs.routes import EXAMPLE
from serving.service.middleware.keys import keys_of
from serving.service.problems import CATALOG
from tests.make import evaluated
from tests.models import tiny_bundle
from tests.serving.dashboard_harness import browsing
from tests.serving.running import ROOT, serving

AXE = ROOT / "serving" / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
AVOIDED_WORDS = re.compile(r"\b(judged?|road|verdict|mend|anew|somebody|nobody|whoever|told)\b", re.IGNORECASE)


def operations(keys=False):
    for path, methods in openapi(keys)["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield path, method, operation


OPERATIONS = list(operations())


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=[f"{m} {p}" for p, m, _ in OPERATIONS])
def test_each_operation_has_a_group_a_summary_a_description_and_samples(path, method, operation):
    (tag,) = operation["tags"]
    assert tag in TAGS and operation["summary"] and operation["description"] and not operation["summary"].endswith(".")
    assert not AVOIDED_WORDS.search(operation["summary"])
    assert [sample["label"] for sample in operation["x-codeSamples"]] == ["curl", "Python"]
    assert operation["operationId"] in docs_page(BASE, keys=False)


def test_operation_ids_are_unique():
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)


def test_catalog_on_the_page_is_that_of_the_code():
    page = docs_page(BASE, keys=False)
    rows = re.findall(r'<tr><td>(\d+)</td><td><span id="([\w-]+)">(.*?)</span></td><td>(.*?)</td></tr>', page)
    shown = [(int(status), name, unescape(title), unescape(re.sub("</?code>", "`", text))) for status, name, title, text in rows]
    assert shown == [(kind.status, kind.name, kind.title, kind.meaning) for kind in CATALOG]


def test_each_problem_of_an_operation_is_in_the_catalog_under_its_status():
    kinds = {kind.name: kind for kind in CATALOG}
    for path, _, operation in operations(keys=True):
        for name in operation.get("x-problems", []):
            assert kinds[name].title in operation["responses"][str(kinds[name].status)]["description"], (path, name)


def test_page_shows_locks_only_with_keys_on():
    without, with_keys = openapi(), openapi(keys=True)
    assert "securitySchemes" not in without["components"] and "security" not in without
    assert not any("security" in operation for _, _, operation in OPERATIONS)
    assert "Authorization" not in str(without["paths"])
    assert 'class="lock"' not in docs_page(BASE, keys=False) and 'class="lock"' in docs_page(BASE, keys=True)
    assert with_keys["components"]["securitySchemes"]
    locked = {path for path, _, operation in operations(keys=True) if operation.get("security")}
    assert locked == {path for path, _, _ in OPERATIONS} - {"/livez", "/readyz"}
    assert "scope: <code>classify</code>" in docs_page(BASE, keys=True)


def test_page_uses_the_services_address_and_loads_nothing_from_other_hosts():
    page = docs_page('http://10.0.0.1:80/"><script>', keys=False)
    assert BASE not in page and "curl http://10.0.0.1:80/&quot;&gt;&lt;script&gt;/v1/model" in page
    assert not re.findall(r'(?:src|href)="(?!/|#|data:,)[^"]*"', page)


def run(sample, url, job):
    """Run a sample: a curl command in a shell, Python here, which spares the start of sixty interpreters."""
    source = sample["source"].replace(BASE, url).replace(EXAMPLE, job)
    if sample["label"] == "curl":
        shell = ["bash", "-c", f"set -e; {source} --fail-with-body"]
        return subprocess.run(shell, capture_output=True, text=True, timeout=600, check=False)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            exec(source, {})
        except httpx.HTTPStatusError as error:
            return SimpleNamespace(returncode=1, stdout="", stderr=str(error))
    return SimpleNamespace(returncode=0, stdout=printed.getvalue(), stderr="")


WITHOUT_A_STREAM = (
    "distribution",
    "trend",
    "volume",
    "sources",
    "messages",
    "top_negative",
    "alerts",
    "versions",
    "tiers",
    "latency",
)


@pytest.mark.integration
@pytest.mark.parametrize("keys", [False, True])
def test_every_sample_runs(keys, tmp_path, monkeypatch):
    assert shutil.which("curl"), "curl is missing: apt-get install curl"
    for name in ("minilm", "vader"):
        evaluated(tmp_path / "var", name)
    with serving(tiny_bundle(tmp_path / "bundle"), tmp_path, keys=str(keys).lower()) as (client, _):
        key = keys_of(tmp_path / "var").add("reader", ["admin"]) if keys else None
        headers = {"authorization": f"Bearer {key}"} if key else {}
        monkeypatch.setenv(KEY_VARIABLE, key or "")

        def made():
            job = client.post("/v1/jobs", json={"texts": ["a great film"]}, headers=headers).json()["id"]
            while client.get(f"/v1/jobs/{job}", headers=headers).json()["state"] != "done":
                pass
            return job

        job, url = made(), str(client.base_url).rstrip("/")
        document = client.get("/openapi.json", headers=headers).json()
        executed = 0
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if method == "parameters":
                    continue
                for sample in operation["x-codeSamples"]:
                    done = run(sample, url, job)
                    needs_a_database = path.rpartition("/")[2] in WITHOUT_A_STREAM or path.startswith("/v1/alerts/")
                    assert bool(done.returncode) == needs_a_database, (path, method, sample["label"], done.stdout, done.stderr)
                    assert done.stdout.strip() or path == "/livez" or needs_a_database, (path, sample["label"])
                    executed += 1
        assert executed == 2 * len(OPERATIONS)


@pytest.mark.integration
def test_page_is_accessible_obeys_its_policy_and_its_forms_work(tmp_path):
    assert AXE.is_file(), "axe-core is missing: make test installs it"
    with (
        serving(tiny_bundle(tmp_path / "bundle"), tmp_path) as (client, _),
        browsing() as browser,
    ):
        url = f"{client.base_url}/docs".replace("//docs", "/docs")
        for colors in ("light", "dark"):
            for width in (1280, 390):
                page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=colors, bypass_csp=True)
                page.goto(url)
                page.add_script_tag(path=AXE)
                page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
                found = page.evaluate("axe.run()")["violations"]
                assert not found, [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found]
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                page.close()
        page, console = browser.new_page(), []
        page.on("console", lambda message: console.append(message.text))
        page.on("pageerror", lambda error: console.append(str(error)))
        page.goto(f"{url}#no-database")
        assert page.locator("#no-database").is_visible()
        form = page.locator("#classify form")
        page.locator("#classify details summary", has_text="Try it").click()
        form.locator("textarea").fill('{"texts": ["a great film"]}')
        form.locator("button").click()
        expect(form.locator("pre")).to_contain_text('"label": "positive"')
        page.locator("#panel_trend details summary", has_text="Try it").click()
        page.locator("#panel_trend-source").fill("none")
        page.locator("#panel_trend button").click()
        expect(page.locator("#panel_trend form pre")).to_contain_text("Message database not running")
        assert not [text for text in console if "503" not in text], "no script error, no policy violation"


@pytest.mark.integration
def test_responses_have_security_headers(tmp_path):
    with serving(tiny_bundle(tmp_path / "bundle"), tmp_path) as (client, _):
        for route in ("/docs", "/openapi.json", "/v1/model", "/v1/nothing", "/metrics", "/readyz", "/"):
            headers = client.get(route).headers
            assert headers["x-content-type-options"] == "nosniff", route
            assert "frame-ancestors 'none'" in headers.get("content-security-policy", "") or route == "/", route
        assert "unsafe-inline" not in client.get("/docs").headers["content-security-policy"]
