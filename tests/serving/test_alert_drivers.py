"""Words and texts that drive a shift, and the amount of data that is read for them."""

import json
import math
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.contracts import Alert
from serving.streaming.alerts import drivers as alert_drivers
from serving.streaming.alerts.detector import Shift
from serving.streaming.alerts.drivers import driving_words, log_odds_z, moving_texts, over_represented, words_of
from serving.streaming.alerts.rows import alert_of, shift_of, slack_message
from serving.warehouse.blocks import write_block
from serving.warehouse.migrate import migrate

NOW = int(time.time()) // 60 * 60
SHIFT = Shift(NOW - 60, NOW - 50, None, -6.0, -0.4, 0.1, 0.5, 40, 10, 20.0)


def test_log_odds_are_those_of_the_paper_worked_by_hand():
    prior = 100 * (10 + 20) / (50 + 1000)
    with_i, with_j = 10 + prior, 20 + prior
    delta = math.log(with_i / (150 - with_i)) - math.log(with_j / (1100 - with_j))
    assert log_odds_z(10, 50, 20, 1000) == pytest.approx(delta / math.sqrt(1 / with_i + 1 / with_j))
    assert log_odds_z(10, 50, 20, 1000) == pytest.approx(4.26, abs=0.01)


@given(st.integers(1, 5000), st.integers(1, 5000), st.data())
def test_log_odds_are_finite_and_signed_for_any_counts(n_i, n_j, data):
    y_i, y_j = data.draw(st.integers(0, n_i)), data.draw(st.integers(0, n_j))
    if y_i + y_j:
        z = log_odds_z(y_i, n_i, y_j, n_j)
        assert math.isfinite(z)
        if y_i / n_i > 2 * y_j / n_j:
            assert z > 0


def test_words_of_a_crisis_come_first_and_common_words_are_left_out():
    usual = [f"the parcel {n} came on time, thank you {name}" for n, name in enumerate(["ann", "bob", "cleo", "dan"] * 200)]
    crisis = ["The outage again!!! The parcel is late", "no refund after the OUTAGE", "outage, outage, outage 😡"] * 5
    found = over_represented(crisis + usual[:10], usual)
    assert [word.word for word in found[:1]] == ["outage"] and {"😡", "refund"} <= {word.word for word in found}
    assert not {"parcel", "the", "again", "time"} & {word.word for word in found}
    assert (found[0].messages, found[0].share, found[0].usual_share) == (15, 0.6, 0.0)
    assert found == sorted(found, key=lambda word: -word.z)


def test_usual_texts_and_an_empty_comparison_have_no_driving_words():
    usual = [f"word{chr(97 + n % 26)} and more of the same {n}" for n in range(2000)]
    assert over_represented(usual[:200], usual) == []
    assert over_represented([], usual) == over_represented(usual, []) == []


def test_words_are_letters_and_emoji_without_masks_and_function_words():
    assert words_of("I can’t believe @someone: https://x.example/y REFUND refund 42 &amp; Café 😡😡 to") == {
        "believe",
        "refund",
        "café",
        "😡",
    }


@pytest.fixture(scope="module")
def chdb(tmp_path_factory):
    import clickhouse_connect

    client = clickhouse_connect.get_client(interface="chdb", path=str(tmp_path_factory.mktemp("warehouse")))
    migrate(client)
    rows = []
    for second in range(NOW - 3700, NOW):
        angry = second >= NOW - 60
        for source in ("shop", "other"):
            at = datetime.fromtimestamp(second, UTC)
            text = f"outage no. {second % 7}" if angry and source == "shop" else f"as always {'outage' * (source == 'other')}"
            rows.append(
                {
                    "topic": "t",
                    "partition": 0,
                    "offset": len(rows),
                    "id": str(len(rows)),
                    "source": source,
                    "text": text,
                    "created_at": at,
                    "produced_at": at,
                    "predicted_at": at,
                    "label": "negative",
                    "confidence": 0.9,
                    "probabilities": [0.9, 0.1, 0.0] if angry else [0.1, 0.8, 0.1],
                    "sarcasm": None,
                    "tier": "m",
                    "model_version": "v",
                }
            )
    block = [json.dumps(row, default=datetime.isoformat).encode() for row in rows]
    write_block(client, "t", block, {0: (0, len(rows) - 1)})
    write_block(client, "t", block[-20:], {0: (len(rows) - 20, len(rows) - 1)})  # delivered twice
    yield client
    client.close()


def test_words_of_a_source_are_compared_with_its_own_hour_before_and_each_message_counts_once(chdb):
    found = driving_words(chdb, "shop", SHIFT)
    assert [word.word for word in found][:1] == ["outage"]
    assert (found[0].messages, found[0].share, found[0].usual_share) == (11, 1.0, 0.0)
    closed = driving_words(chdb, "shop", Shift(**{**SHIFT.__dict__, "closed": NOW}))
    assert closed[0].messages == 60, "once it is closed, of all of the shift"
    assert driving_words(chdb, "other", SHIFT) == [] and driving_words(chdb, "none", SHIFT) == []
    assert moving_texts(chdb, "shop", SHIFT, limit=2) == ["outage no. 0", "outage no. 1"]


class Counting:
    """A client that counts the rows it returns."""

    def __init__(self, client):
        self.client, self.rows = client, []

    def query(self, *given, **named):
        found = self.client.query(*given, **named)
        self.rows.append(len(found.result_rows))
        return found


def test_number_of_texts_read_is_limited(chdb, monkeypatch):
    monkeypatch.setattr(alert_drivers, "_SHIFT_TEXTS", 5)
    monkeypatch.setattr(alert_drivers, "_USUAL_TEXTS", 100)
    counting = Counting(chdb)
    driving_words(counting, "shop", SHIFT)
    assert counting.rows[0] == 5 and 0 < counting.rows[1] <= 100


def test_drivers_are_in_the_message_and_the_alert_and_an_old_alert_can_be_read(chdb):
    alert = alert_of("shop", SHIFT, ["outage <1>"], driving_words(chdb, "shop", SHIFT))
    line, blocks = slack_message(alert)
    assert "40 messages in 10 s, usually 20" in line
    assert "*outage* (100%, usually 0%)" in blocks[1]["text"]["text"] and "outage &lt;1&gt;" in blocks[2]["text"]["text"]
    assert Alert.model_validate_json(alert.model_dump_json()) == alert and shift_of(alert) == SHIFT
    old = alert.model_dump(mode="json", exclude={"words", "usual_volume", "muted"})
    read = Alert.model_validate(old)
    assert (read.words, read.usual_volume, read.muted) == ((), None, False)
    assert "usually" not in slack_message(read)[0]
    closed = alert.model_copy(update={"closed_at": alert.detected_at + timedelta(minutes=2)})
    assert len(slack_message(closed)[1]) == 1
