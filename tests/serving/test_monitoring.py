"""Rules, alerts and dashboard: valid by promtool, and only with metrics that the service declares."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from serving.service import metrics
from serving.streaming.worker import metrics as stream_metrics

FOLDER = Path(__file__).parents[2] / "serving" / "service" / "monitoring"
RULES = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))
RULE_LIST = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
PANELS = DASHBOARD["panels"]
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
OF_PROMETHEUS = {"job", "instance", "le"}
SCRAPED = {
    family.name + suffix: set(metric._labelnames)
    for metric in (*vars(metrics).values(), *vars(stream_metrics).values())
    if isinstance(metric, MetricWrapperBase)
    for family in metric.describe()
    for suffix in SUFFIXES[family.type]
}
"""Names as Prometheus sees them, with their labels."""
RECORDED = {rule["record"] for rule in RULE_LIST if "record" in rule}


def promtool(*arguments):
    assert shutil.which("promtool"), "promtool is missing: `make system` installs it (Debian's package prometheus)"
    ran = subprocess.run(["promtool", *map(str, arguments)], cwd=FOLDER, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def plain(expression):
    """An expression with Grafana's variables filled in."""
    for name, value in {"$__rate_interval": "5m", "$job": ".*", "$price_per_cpu_hour": "0.0446"}.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, f"a variable that the dashboard does not have: {expression}"
    return expression


def names(expression):
    """The metrics of an expression: the words that are no function, label, duration or keyword."""
    bare = re.sub(r"\{.*?\}|\[.*?\]|\"[^\"]*\"", " ", expression)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    words = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\w|:|\s*\()", bare)
    return [word for word in words if word.lower() not in WORDS]


def labels(expression):
    """The labels of its selectors and groupings."""
    grouped = re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", expression)
    selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    return {label.strip() for group in grouped for label in group.split(",") if label.strip()} | set(selected)


def dashboard_expressions():
    return [plain(target["expr"]) for panel in PANELS for target in panel["targets"]]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("sum by (job, le) (rate(a_b[5m] offset 1h)) > 2 * x:y:z", ["a_b", "x:y:z"]),
        ('1e6 * up{job="groundswell_x"} and on (job) absent(b) or inf', ["up", "b"]),
    ],
)
def test_names_of_an_expression_are_found(expression, found):
    assert names(expression) == found


def test_rules_are_valid():
    promtool("check", "rules", "--lint-fatal", "rules.yaml")


def test_each_alert_fires_on_its_case_and_no_other_does():
    promtool("test", "rules", "rules_test.yaml")


def test_each_alert_is_tested_and_has_a_remedy():
    tests = (FOLDER / "rules_test.yaml").read_text(encoding="utf-8")
    for alert in (rule for rule in RULE_LIST if "alert" in rule):
        assert f'{{alertname="{alert["alert"]}"' in tests
        assert {"summary", "description"} <= alert["annotations"].keys() and alert["labels"]["severity"] and alert["for"]


@pytest.mark.parametrize("expression", [rule["expr"] for rule in RULE_LIST] + dashboard_expressions())
def test_every_metric_and_label_is_declared(expression):
    used = names(expression)
    assert used and set(used) <= SCRAPED.keys() | RECORDED, set(used) - SCRAPED.keys() - RECORDED
    if not RECORDED & set(used):  # a record's labels are those its own expression leaves
        assert labels(expression) <= OF_PROMETHEUS.union(*(SCRAPED[name] for name in used))


def test_dashboard_needs_no_rules():
    assert not RECORDED & {name for expression in dashboard_expressions() for name in names(expression)}


def test_prometheus_parses_the_expressions_of_the_dashboard(tmp_path):
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(dashboard_expressions())]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", path)


def test_panels_have_unique_ids_titles_and_places():
    assert len({panel["id"] for panel in PANELS}) == len({panel["title"] for panel in PANELS}) == len(PANELS)
    boxes = [panel["gridPos"] for panel in PANELS]
    assert all(box["x"] >= 0 and box["x"] + box["w"] <= 24 for box in boxes)
    for one, other in combinations(boxes, 2):
        horizontal = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        vertical = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert horizontal or vertical, (one, other)


def test_dashboard_can_be_imported_anywhere():
    kinds = {variable["name"]: variable["type"] for variable in DASHBOARD["templating"]["list"]}
    assert kinds == {"datasource": "datasource", "job": "query", "price_per_cpu_hour": "textbox"}
    assert DASHBOARD["uid"] and "id" not in DASHBOARD and "://" not in json.dumps(DASHBOARD)
    sources = [panel["datasource"] for panel in PANELS] + [target["datasource"] for p in PANELS for target in p["targets"]]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)


def test_scrape_config_of_the_readme_is_valid(tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", (FOLDER / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    path = tmp_path / "prometheus.yaml"
    path.write_text("".join(blocks), encoding="utf-8")
    promtool("check", "config", "--syntax-only", path)
