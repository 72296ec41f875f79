import json
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from data.errors import GroundswellError, ModelError
from evaluation import plots
from evaluation.behavior import run_behavior
from evaluation.cost import Cost, Spread
from evaluation.leaderboard import (
    LeaderboardRow,
    as_table,
    build_leaderboard,
    format_bytes,
    format_ms,
    format_us,
    read_leaderboard,
)
from evaluation.leaderboard_page import write_leaderboard
from evaluation.metrics import METRICS, Estimate, score
from evaluation.parity import ParityRow
from evaluation.plots import decades, plot_export_variants, plot_pareto
from evaluation.slices import SliceRow
from evaluation.suites import Case

ROWS = 600
LABELS = np.random.default_rng(0).integers(0, 3, ROWS)


def _predictions(right, seed):
    generator = np.random.default_rng(seed)
    predicted = np.where(generator.random(ROWS) < right, LABELS, generator.integers(0, 3, ROWS))
    proba = np.full((ROWS, 3), 0.1)
    proba[np.arange(ROWS), predicted] = 0.8
    return proba


def _cost(cpu_us):
    def spread(value):
        return Spread(value, 0.9 * value, 1.2 * value)

    return Cost(
        spread(cpu_us),
        spread(1e6 / cpu_us),
        spread(cpu_us / 900),
        spread(cpu_us / 800),
        spread(cpu_us / 700),
        peak_memory_mib=321.5,
        load_s=1.25,
        file_bytes=90_000_000,
        rounds=3,
        bulk_texts=64,
        single_texts=30,
    )


PROBAS = {"plain": _predictions(0.4, 1), "good": _predictions(0.7, 2), "also good": _predictions(0.7, 3)}


class _Plain:
    name = "plain"

    def predict_proba(self, texts, *, domains=None):
        return np.tile(np.float32([0.1, 0.2, 0.7]), (len(texts), 1))


def _rows(**changes):
    cases = [
        Case("own", "praise | joy", "MFT", "c", ("x",), frozenset({2})),
        Case("own", "names", "INV", "c", ("x", "y")),
    ]
    behavior = tuple(run_behavior(_Plain(), cases))
    parts = (
        SliceRow("emoji", 12, ("negative", "positive"), {}),
        SliceRow("length=short", 300, (), score(LABELS, PROBAS["good"], resamples=50)),
    )
    return [
        LeaderboardRow(
            name,
            ROWS,
            score(LABELS, proba, resamples=100),
            from_scratch=name == "plain",
            temperature=1.25,
            cost=_cost(100 * 10**index),
            slices=parts,
            behavior=behavior,
        )
        for index, (name, proba) in enumerate(PROBAS.items())
    ]


def _board():
    return build_leaderboard(_rows(), LABELS, PROBAS, dataset="a <set>", about={"Rows": "600"}, resamples=300)


def test_rows_are_ranked_and_each_pair_shows_whether_it_is_real():
    board = _board()
    assert board.rows[-1].candidate == "plain"
    values = [row.metrics["macro_recall"].value for row in board.rows]
    assert values == sorted(values, reverse=True)
    assert len(board.comparisons) == 3
    by_pair = {frozenset((pair.first, pair.second)): pair for pair in board.comparisons}
    assert by_pair[frozenset(("plain", "good"))].real
    assert not by_pair[frozenset(("good", "also good"))].real
    assert all(pair.difference.value >= 0 for pair in board.comparisons)  # the better one is named first
    assert "a real difference" in by_pair[frozenset(("plain", "good"))].text()
    plain, other = board.rows[-1], board.rows[0].candidate
    assert plain.against[other].high < 0 < board.rows[0].against["plain"].low
    assert set(plain.against) == {"good", "also good"}


def test_the_json_is_a_list_of_rows_with_metrics_by_name_and_reads_back(tmp_path):
    board = _board()
    files = write_leaderboard(board, tmp_path / "board", labels=LABELS, probas=PROBAS)
    assert {path.name for path in files} == {
        "leaderboard.json",
        "published.json",
        "leaderboard.md",
        "leaderboard.html",
        "pareto.png",
        "confusion.png",
        "reliability.png",
    }
    rows = json.loads((tmp_path / "board" / "leaderboard.json").read_text(), parse_constant=pytest.fail)  # no NaN
    assert [row["candidate"] for row in rows] == [row.candidate for row in board.rows]
    for row in rows:
        assert all(set(row[metric]) == {"value", "low", "high"} for metric in METRICS)
        assert row["from_scratch"] is (row["candidate"] == "plain")
        assert row["cost"]["cpu_us_per_text"]["low"] < row["cost"]["cpu_us_per_text"]["high"]
    again = read_leaderboard(tmp_path / "board" / "leaderboard.json")
    assert [row.to_dict() for row in again] == rows
    nested = {"candidate": "x", "rows": 600, "metrics": {m: rows[0][m] for m in METRICS}, "slices": rows[0]["slices"]}
    assert LeaderboardRow.from_dict(nested).metrics == again[0].metrics and LeaderboardRow.from_dict(nested).n == 600


def test_the_page_marks_from_scratch_escapes_names_and_needs_only_its_own_plots(tmp_path):
    write_leaderboard(_board(), tmp_path, labels=LABELS, probas=PROBAS)
    page = (tmp_path / "leaderboard.html").read_text()
    assert "a &lt;set&gt;" in page and "<set>" not in page
    assert 'plain<span class="tag">from scratch</span>' in page
    named = set(re.findall(r'(?:src|href)="([^"]+)"', page))
    assert named == {"pareto.png", "confusion.png", "reliability.png"}
    assert all((tmp_path / name).read_bytes()[:4] == b"\x89PNG" for name in named)
    text = (tmp_path / "leaderboard.md").read_text()
    assert "plain (from scratch)" in text and "![" in text and "| praise \\| joy |" in text
    widths = {
        len(re.findall(r"(?<!\\)\|", line)) for line in text.split("## Slices")[1].split("##")[0].splitlines() if "|" in line
    }
    assert len(widths) == 1  # every line of the table has the same number of cells


def test_a_failure_keeps_the_old_leaderboard(tmp_path):
    target = tmp_path / "board"
    write_leaderboard(_board(), target, labels=LABELS, probas=PROBAS)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    with pytest.raises(ModelError):
        write_leaderboard(_board(), target, labels=LABELS, probas={name: proba[:5] for name, proba in PROBAS.items()})
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["board"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GroundswellError, match=r"cannot be written[\s\S]*Free disk space"):
        write_leaderboard(_board(), tmp_path / "file" / "board", labels=LABELS, probas=PROBAS)


def test_one_candidate_without_cost_is_a_leaderboard_too(tmp_path):
    row = replace(_rows()[1], cost=None, slices=(), behavior=())
    board = build_leaderboard([row], LABELS, {"good": PROBAS["good"]}, dataset="d", resamples=100)
    files = write_leaderboard(board, tmp_path, labels=LABELS, probas={"good": PROBAS["good"]})
    assert "pareto.png" not in {path.name for path in files}
    assert "Which differences" not in (tmp_path / "leaderboard.html").read_text()


@pytest.mark.parametrize("probas", [{}, {"good": PROBAS["good"]}, PROBAS | {"other": PROBAS["good"]}])
def test_rows_and_probabilities_must_be_the_same_candidates(probas):
    with pytest.raises(ModelError, match="each candidate once"):
        build_leaderboard(_rows(), LABELS, probas, dataset="d")


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no leaderboard yet"), ("[{", "cannot be read"), ("[{}]", "'candidate'")]
)
def test_a_missing_or_corrupt_file_names_the_command_to_run(tmp_path, content, message):
    path = tmp_path / "leaderboard.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ModelError, match=rf"{message}[\s\S]*groundswell benchmark"):
        read_leaderboard(path)


def test_the_terminal_table_fits_eighty_columns():
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(as_table(_board().rows))
    text = console.export_text()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    lines = text.splitlines()
    order = [next(i for i, line in enumerate(lines) if line.startswith(f" {row.candidate} ")) for row in _board().rows]
    assert order == sorted(order)
    assert "scratch" in text and _board().rows[0].metrics["macro_recall"].text() in text


def test_plots_accept_one_point_and_many_close_points(tmp_path):
    row = _rows()[0]
    assert plot_pareto([row], tmp_path / "one.png") is not None
    crowd = [replace(row, candidate=f"candidate number {i}", cost=_cost(100 + i)) for i in range(9)]
    assert plot_pareto(crowd, tmp_path / "crowd.png") is not None
    delta = Estimate(-0.001, -0.002, 0.0)
    variants = [ParityRow("int8", 100, False, 12, 0.1, 0.01, 0.7, delta, cpu_us=10.0)]
    assert plot_export_variants(variants, tmp_path / "export_variants.png").stat().st_size > 5000


def test_numbers_are_formatted_for_display():
    assert [format_us(x) for x in (3480.4, 52.2, 0.52)] == ["3,480 µs", "52 µs", "0.5 µs"]
    assert [format_bytes(x) for x in (None, 12, 90_869_492, 5 * 1024**3)] == ["–", "12 B", "87 MiB", "5.0 GiB"]
    assert [format_ms(x) for x in (0.0667, 3.91, 53.3, 1234.0)] == ["0.07", "3.9", "53", "1,234"]


@pytest.mark.parametrize(
    ("low", "high", "wanted"), [(45, 7144, (10, 10_000)), (100, 1000, (10, 10_000)), (2000, 7000, (1000, 10_000))]
)
def test_logarithmic_axis_runs_over_whole_decades(low, high, wanted):
    assert decades([high, low]) == wanted


def test_cost_axis_is_labeled_at_decades(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure) or path)
    plot_pareto(_rows(), tmp_path / "pareto.png")
    (axes,) = figures[0].axes
    figures[0].draw_without_rendering()
    low, high = axes.get_xlim()
    labels = [text.get_text() for at, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True) if low <= at <= high]
    assert labels and all(re.fullmatch(r"1(,?0)* µs|1\.0 µs|0\.1 µs", label) for label in labels)
