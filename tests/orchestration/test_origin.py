"""Which texts are used: a data folder, the hub when it is reachable, or the sample; and every profile with `groundswell data`.

Code that calls the hub runs in a process of its own, since the hub library reads its address when it is imported.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from data.catalog import load_catalog
from data.errors import SourceUnavailable
from data.settings import DataSettings
from data.sources.origin import PROBE_S, configured, hub_refusal
from orchestration.layout import Layout
from orchestration.steps.data import choose_origin, read_origin
from tests.hub_stub import Hub, hub_environment, write_tweet_eval
from tests.make import rows, write_dataset

ROOT = Path(__file__).parents[2]
SAMPLES = {name for name, spec in load_catalog().items() if spec.sample}
_CHOOSE = """
import json, sys
from orchestration.layout import Layout
from orchestration.progress import listening
from orchestration.steps.data import choose_origin
class Recorder:
    def __call__(self, message, fraction): messages.append(message)
messages = []
with listening(Recorder()):
    origin = choose_origin(Layout.load())
print(json.dumps({"sets": origin.sets, "text": origin.text, "is_sample": origin.is_sample, "messages": messages}))
"""


@pytest.fixture
def hub(tmp_path):
    with Hub(tmp_path / "hub") as server:
        yield server


def choose(hub, home, **environment):
    run = subprocess.run(
        [sys.executable, "-c", _CHOOSE],
        env=hub_environment(hub, home) | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.strip().splitlines()[-1])


@pytest.mark.integration
def test_without_a_data_folder_the_primary_dataset_comes_from_a_reachable_hub(hub, tmp_path):
    write_tweet_eval(hub, "sentiment")
    found = choose(hub, tmp_path)
    assert found["sets"] == ["tweeteval_sentiment"] and not found["is_sample"]
    assert "from the Hugging Face hub (cardiffnlp/tweet_eval), since no data folder is set" in found["text"]
    assert found["messages"][:2] == ["asking the hub for cardiffnlp/tweet_eval", "fetching cardiffnlp/tweet_eval from the hub"]
    asked = len(hub.requests)
    again = choose(hub, tmp_path, HF_HUB_OFFLINE="1")
    assert (again["sets"], again["messages"], len(hub.requests)) == (found["sets"], [], asked), "it is fetched once"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("unreachable", "http://127.0.0.1:9 cannot be used (ConnectionError)"),
        ("slow", f"did not respond within {PROBE_S:g} s"),
        ("unknown revision", "cannot be used (HTTP status 404)"),
        ("broken", "cardiffnlp/tweet_eval could not be fetched"),
    ],
)
def test_a_hub_that_cannot_be_used_leaves_the_sample_and_the_reason(hub, tmp_path, state, why):
    write_tweet_eval(hub, "sentiment")
    if state == "slow":
        hub.responding.clear()
    elif state == "unknown revision":
        hub.commits.clear()
    elif state == "broken":
        for path in hub.root.rglob("*.parquet"):
            path.write_bytes(b"no parquet")
    found = choose("http://127.0.0.1:9" if state == "unreachable" else hub, tmp_path)
    assert set(found["sets"]) == SAMPLES and found["is_sample"]
    assert "small sample, since no data folder is set and " in found["text"] and why in found["text"]


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_the_offline_variables_are_respected_and_named(hub, variable, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv(variable, "1")
    origin = choose_origin(Layout.load())
    assert f"{variable} is set" in origin.text and origin.is_sample
    assert hub.requests == []


def test_dataset_without_a_pinned_revision_is_not_requested():
    assert hub_refusal(load_catalog()["airline"]) == "airline has no pinned revision on the hub"


def test_read_origin_sends_no_request_and_writes_nothing(tmp_path):
    layout = Layout.load()
    assert read_origin(layout).is_sample and "no run has requested it from the hub yet" in read_origin(layout).text
    assert not layout.var.exists()
    chosen = choose_origin(layout)
    assert read_origin(layout) == chosen


def test_settings_decide_before_a_request_to_the_hub(tmp_path, monkeypatch):
    catalog = load_catalog()
    named = configured(catalog, DataSettings.load(datasets=["airline", "tweeteval_sentiment"]))
    assert named is not None and named.sets == ("tweeteval_sentiment", "airline")
    folder = configured(catalog, DataSettings.load(dir=tmp_path))
    assert folder is not None and not SAMPLES & set(folder.sets) and str(tmp_path) in folder.text
    file = {"path": "own.csv", "columns": {"text": "a", "label": "b"}}
    own = load_catalog({"own": {"domain": "support", "license": "ours", "file": file}})
    assert (found := configured(catalog | own, DataSettings.load())) is not None and found.sets == ("own",)
    assert configured(catalog, DataSettings.load()) is None
    with pytest.raises(SourceUnavailable, match="There is no data folder"):
        configured(catalog, DataSettings.load(dir=tmp_path / "nowhere"))
    with pytest.raises(SourceUnavailable, match="Did you mean 'airline'"):
        configured(catalog, DataSettings.load(datasets=["airlin"]))


@pytest.mark.parametrize("setting", [{"ORIGIN": "local"}, {"DATASETS": '["sample_tweets"]'}])
def test_the_production_profile_never_trains_on_the_sample(setting, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_PROFILE", "production")
    for name, value in setting.items():
        monkeypatch.setenv(f"GROUNDSWELL_DATA__{name}", value)
    with pytest.raises(SourceUnavailable, match="The production profile does not train on the sample") as caught:
        choose_origin(Layout.load())
    assert "GROUNDSWELL_DATA__DIR" in caught.value.remedy


def data_command(environment, **settings):
    names = {f"GROUNDSWELL_{name}": str(value) for name, value in settings.items()}
    run = subprocess.run(
        [sys.executable, "-m", "orchestration.cli", "data"],
        env=environment | names,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return run.returncode, " ".join((run.stdout + run.stderr).split())


def assert_datasets_come_from_the_hub(output):
    assert "Texts: the Hugging Face hub, at pinned revisions." in output
    assert "tweeteval_sentiment 84 12 24" in output and "sample_" not in output
    for name, why in (("airline", "no copy"), ("sentiment140", "stanfordnlp/sentiment140 has a loading script")):
        assert f"{name} is not fetched from the hub: {why}" in output
    assert "there is no zeroshot/twitter-financial-news-sentiment" in output, "requested at its pin; the stub does not have it"


@pytest.mark.integration
def test_the_production_profile_takes_datasets_from_the_hub(hub, tmp_path):
    write_tweet_eval(hub, "sentiment", "irony")
    code, output = data_command(hub_environment(hub, tmp_path), PROFILE="production")
    assert code == 0, output
    assert_datasets_come_from_the_hub(output)


@pytest.mark.integration
@pytest.mark.parametrize("profile", ["hub", "production"])
def test_without_the_primary_dataset_the_hub_and_production_profiles_stop(profile, tmp_path):
    code, output = data_command(hub_environment("http://127.0.0.1:9", tmp_path), PROFILE=profile)
    assert code == 1 and "tweeteval_sentiment: cardiffnlp/tweet_eval cannot be fetched. found: http://127.0.0.1:9" in output
    assert "sample_" not in output and "Fetch" not in output


ROWS = {
    "`GROUNDSWELL_DATA__DIR=/folder`": "folder",
    "`GROUNDSWELL_PROFILE=hub`": "hub",
    "neither, and the hub is reachable": "neither",
    "neither, and it is not": "no hub",
}


def test_the_readme_has_no_other_row_about_texts():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| setting | texts |") :].split("\n\n")[0].splitlines()[2:]
    assert [row.split("|")[1].strip() for row in table] == list(ROWS)


@pytest.mark.integration
@pytest.mark.parametrize("row", ROWS.values())
def test_each_row_of_the_readme_about_texts(row, hub, tmp_path):
    write_tweet_eval(hub, "sentiment", "irony")
    environment = hub_environment(hub, tmp_path)
    if row == "folder":
        # The files are not the recorded ones. Refused by checksum: the primary one stops the run.
        write_dataset(tmp_path / "texts", rows(40), "tweeteval_sentiment")
        code, output = data_command(environment, DATA__DIR=tmp_path / "texts")
        assert code == 1 and "not the one in configs/datasets.yaml" in output
    elif row == "hub":
        code, output = data_command(environment, PROFILE="hub")
        assert code == 0, output
        assert_datasets_come_from_the_hub(output)
    elif row == "neither":
        code, output = data_command(environment)
        assert code == 0 and "tweeteval_sentiment from the Hugging Face hub" in output and "sample_" not in output
    else:
        code, output = data_command(hub_environment("http://127.0.0.1:9", tmp_path))
        assert code == 0 and "own small sample, since no data folder is set and http://127.0.0.1:9 cannot be used" in output


def test_every_profile_differs_from_the_defaults_in_what_it_sets_and_in_nothing_else():
    from data.settings_registry import settings_classes

    classes = {one.section: one for one in settings_classes()}
    profiles = sorted((ROOT / "configs" / "profiles").glob("*.yaml"))
    assert [path.stem for path in profiles] == ["hub", "offline", "production"]
    for path in profiles:
        for section, fields in yaml.safe_load(path.read_text()).items():
            for name, value in fields.items():
                default = classes[section].model_fields[name].get_default(call_default_factory=True)
                assert value != default, f"{path.name}: {section}.{name} repeats the default"
