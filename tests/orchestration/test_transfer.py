"""The step of the domain-transfer matrix, with a tiny model: trained once, resumed, and stored."""

import json

import numpy as np
import pandas as pd
import pytest

from data.errors import SourceUnavailable
from data.sources.reading import write_labeled
from evaluation.plots import plot_transfer
from evaluation.settings import TransferSettings
from evaluation.transfer import HEADS, Transfer, transfer_matrix
from orchestration.layout import Layout
from orchestration.steps import transfer
from orchestration.steps.benchmark_log import log_transfer
from orchestration.steps.tracking import open_tracking
from tests.make import labeled
from tests.models import tiny_candidate, write_checkpoint

SWAPPED = {"negative": "negative", "neutral": "positive", "positive": "neutral"}


def place(tmp_path, monkeypatch, *domains):
    """A layout whose splits have rows of these domains, with labels swapped in the second."""
    layout = Layout(tmp_path / "var", {"transfer": {"rows": 500, "epochs": 4, "evaluated_rows": 100}})
    frames = [labeled(240, domain=domain).assign(source=domain) for domain in domains]
    if len(frames) > 1:
        frames[1]["label"] = frames[1]["label"].map(SWAPPED)
    layout.splits.mkdir(parents=True)
    write_labeled(layout.splits / "texts.parquet", pd.concat(frames, ignore_index=True))
    report = {"fingerprint": "f", "counts": {}, "rows": {}, "notices": []}
    (layout.splits / "report.json").write_text(json.dumps(report))
    candidate = tiny_candidate(write_checkpoint(tmp_path / "base"))
    monkeypatch.setattr(transfer, "trainable", lambda name: candidate)
    monkeypatch.setattr(transfer, "training_datasets", lambda: list(domains))
    monkeypatch.setattr("training.heads.LEAST_ROWS", 100)
    return layout


@pytest.mark.integration
def test_matrix_is_measured_once_and_resumed_after_a_kill(tmp_path, monkeypatch):
    layout = place(tmp_path, monkeypatch, "tweets", "finance")
    assert layout.settings(TransferSettings).epochs == 4
    trained = []
    made = transfer._proba

    def killed(way, *rest):
        if way == "generalist" and "generalist" not in trained:
            trained.append(way)
            raise KeyboardInterrupt
        trained.append(way)
        return made(way, *rest)

    monkeypatch.setattr(transfer, "_proba", killed)
    with pytest.raises(KeyboardInterrupt):
        transfer.measure_transfer(layout)
    with pytest.raises(SourceUnavailable, match="groundswell transfer"):
        transfer.read_transfer(layout)
    work = next(layout.var.glob(".transfer-*"))
    assert sorted(path.name for path in work.glob("*.npy")) == ["finance.npy", "tweets.npy"]
    trained.clear()
    monkeypatch.setattr(transfer, "_proba", lambda way, *rest: (trained.append(way), made(way, *rest))[1])
    kept = []
    monkeypatch.setattr("training.finetune.finetune", spy(kept))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(transfer, "mark_current", interrupted)
        transfer.measure_transfer(layout)
    found = transfer.measure_transfer(layout)
    assert kept == ["generalist", "heads"] and not list(layout.var.glob(".transfer-*"))
    assert found.at("tweets", "tweets").macro_recall.value > 0.9 > found.at("tweets", "finance").macro_recall.value
    assert found.at("heads", "finance").macro_recall.value > found.at("generalist", "finance").macro_recall.value
    trained.clear()
    assert transfer.measure_transfer(layout) == found and trained == [], "unchanged: nothing is trained"
    assert (layout.transfer / "transfer.png").is_file() and "# Domain transfer" in (layout.transfer / "transfer.md").read_text()


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.integration
def test_matrix_is_logged_to_mlflow_once(tmp_path, monkeypatch):
    layout = Layout(tmp_path / "var")
    cells, gains = transfer_matrix(["news"] * 9, np.arange(9) % 3, {HEADS: np.eye(3)[np.arange(9) % 3]}, resamples=20)
    matrix = Transfer("Tiny", 1, 1, {"news": 9}, cells, gains)
    layout.transfer.mkdir(parents=True)
    plot_transfer(matrix, layout.transfer / "transfer.png")
    layout.splits.mkdir(parents=True)
    (layout.splits / "report.json").write_text(json.dumps({"fingerprint": "f", "counts": {}, "rows": {}, "notices": []}))
    for run in ("one", "two"):
        log_transfer(layout, run, matrix)
    tracking = open_tracking(layout)
    assert tracking.find_parent("one") and tracking.find_parent("two") is None
    assert tracking.client.get_run(tracking.find_parent("one")).data.metrics == {"heads/news": 1.0}


def spy(kept):
    from training.finetune import finetune

    def spied(candidate, rows, val, target, *rest, **options):
        kept.append(target.name)
        return finetune(candidate, rows, val, target, *rest, **options)

    return spied


def test_one_domain_has_nothing_to_transfer_to(tmp_path, monkeypatch):
    with pytest.raises(SourceUnavailable, match="all of one domain") as raised:
        transfer.measure_transfer(place(tmp_path, monkeypatch, "tweets"))
    assert "recipe" in str(raised.value.remedy).lower()
