"""Publishing alerts: the Slack message, a webhook that fails, a broker that is down."""

from datetime import UTC, datetime, timedelta

import pytest

from data.contracts import Alert
from serving.settings import AlertSettings, StreamSettings
from serving.streaming.alerts.process import Publisher
from serving.streaming.alerts.rows import slack_message
from serving.webhook import WebhookThread
from tests.serving.alert_rows import alert_row
from tests.serving.webhooks import receiving

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
NUMBERS = {"z": -7.1, "moving_average": -0.2, "baseline_mean": 0.1, "volume": 212, "window_s": 3}
ALERT = Alert.model_validate(alert_row("a", NOON, source="reviews", **NUMBERS))


@pytest.fixture
def webhook():
    with receiving() as receiver:
        yield receiver


def test_slack_message_of_an_open_and_a_closed_alert():
    line, blocks = slack_message(ALERT)
    assert (
        line == "Sentiment of reviews went down by 15.0 points to 40.0 of 100 since 12:00:00 UTC (z -7.1, 212 messages in 3 s)."
    )
    assert blocks[0]["text"]["text"] == line
    normal = ALERT.model_copy(update={"closed_at": NOON + timedelta(seconds=120)})
    assert slack_message(normal)[0] == "Sentiment of reviews is normal again: it was down for 2.0 minutes (alert a)."
    stays = ALERT.model_copy(update={"closed_at": NOON + timedelta(seconds=3603)})
    assert "counts as normal from now on" in slack_message(stays)[0]


def test_the_webhook_is_not_notified_of_a_muted_source(webhook):
    settings = AlertSettings.model_validate({"webhook": f"http://127.0.0.1:{webhook.server_port}/hook"})
    publisher = Publisher(StreamSettings(bootstrap="127.0.0.1:9"), settings)
    publisher(ALERT.model_copy(update={"muted": True}))
    publisher(ALERT)
    publisher.close(timeout_s=2)
    assert [body["text"] for body in webhook.got] == [slack_message(ALERT)[0]]


def test_failing_webhook_is_retried_and_a_refused_message_is_dropped(webhook, caplog):
    webhook.statuses = [500, 503, 200, 400, 200]
    thread = WebhookThread(f"http://127.0.0.1:{webhook.server_port}/secret-token")
    for text in ("one", "two", "three"):
        thread.enqueue(text, [{"type": "section"}])
    thread.close()
    assert [body["text"] for body in webhook.got] == ["one", "one", "one", "two", "three"]
    assert webhook.got[0]["blocks"] == [{"type": "section"}]
    assert "secret-token" not in caplog.text and "HTTPStatusError 400" in caplog.text


def test_webhook_that_is_down_does_not_block(caplog):
    thread = WebhookThread("http://127.0.0.1:9/secret-token")
    for number in range(1_200):
        thread.enqueue(str(number))
    assert "the oldest of 1000 messages is dropped" in caplog.text and "secret-token" not in caplog.text
    thread.close(timeout_s=0.1)


def test_unavailable_broker_does_not_block_the_publisher(caplog):
    publisher = Publisher(StreamSettings(bootstrap="127.0.0.1:9"), AlertSettings())
    for _ in range(5):
        publisher(ALERT)
    publisher.close(timeout_s=0.1)
    assert "5 alerts are in the warehouse and did not reach the topic" in caplog.text
