"""The benchmark of articles on a tiny model: every length, in windows."""

from itertools import islice

from benchmarks import articles as module
from benchmarks.articles import articles, measure, table_of
from serving.classifier import Classifier
from tests.models import some_texts, tiny_bundle


def test_articles_have_their_length_and_never_repeat():
    made = list(islice(articles(["one two three.", "four five."], 20), 50))
    assert len(set(made)) == 50
    assert all(20 <= len(one.split()) <= 22 for one in made)


def test_every_length_is_measured_in_windows(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WORDS", (10, 400))
    classifier = Classifier(tiny_bundle(tmp_path / "tiny"), threads=1)
    short, long = measure(classifier, some_texts(30), 2, lambda *_: None, count=3)
    assert (short.words, short.tier) == (10, "base")
    assert long.windows > 5 * short.windows and len(long.cpu_s) == len(long.wall_s) == 2
    table = table_of([short, long])
    assert len(table.rows) == 2 and {len(row) for row in table.rows} == {len(table.columns)}
