"""09 and 11: a deletion notice deletes, an edit replaces its predecessor; on the stream and by hand.

Sources: DocNow/twarc#694, DocNow/twarc#135, X's "Compliance Data Objects"; mahrtayyab/tweety#144, DocNow/twarc#657. For the
lakehouse see `test_deleted_messages_leave_all_layers_and_do_not_come_back` in tests/serving/test_lakehouse.py.
"""

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from data.feedback import FeedbackLabel, open_feedback
from data.forgetting import Request, request_of
from data.tweets import Notice
from orchestration.cli.main import app
from serving.classifier import Classifier
from serving.forgetting import pending
from serving.streaming.replay import run_stream
from serving.warehouse.connect import connect
from serving.warehouse.forget import count_notices, find_left
from serving.warehouse.questions import ask
from tests.models import tiny_bundle

AT = datetime.now(UTC).replace(microsecond=0)
WRITTEN, NOTICED = AT - timedelta(hours=3), AT - timedelta(hours=2)
SINCE = WRITTEN - timedelta(hours=1)
MS = str(round(NOTICED.timestamp() * 1000))


def tweet(identity, text, author="77", **more):
    return {
        "id_str": identity,
        "text": text,
        "created_at": f"{WRITTEN:%a %b %d %H:%M:%S +0000 %Y}",
        "user": {"id_str": author},
        **more,
    }


def edit(identity, text, *history):
    times = {"created_at": f"{WRITTEN:%Y-%m-%dT%H:%M:%S.000Z}", "author_id": "80"}
    return {"data": {"id": identity, "text": text, "edit_history_tweet_ids": [*history, identity], **times}}


DELETE = {"delete": {"status": {"id": 1008, "id_str": "1008", "user_id_str": "77"}, "timestamp_ms": MS}}
RECORDS = [
    tweet("1007", "the flight was great"),
    tweet("1008", "My neighbor is a liar, I hate her"),
    tweet("1009", "withheld in one country", "79"),
    tweet("1010", "an account that will be gone", "78"),
    edit("1013", "I love the new app, great job"),
    edit("1014", "I loved the new app until it ate my ticket. Terrible.", "1013"),
    DELETE,
    {"status_withheld": {"id": 1009, "user_id": 79, "withheld_in_countries": ["DE"]}, "timestamp_ms": MS},
    {"user_delete": {"id": 78}, "event_at": NOTICED.isoformat()},
    {"scrub_geo": {"user_id_str": "77", "up_to_status_id_str": "1007"}},
]


@pytest.fixture
def var(tmp_path, monkeypatch):
    return tmp_path / "var"


def shown(client):
    rows = ask(client, "messages", since=SINCE, until=AT, limit=100)
    return {row["id"]: row["text"] for row in rows}


@pytest.mark.integration
@pytest.mark.parametrize("order", ["as sent", "notices first"])
def test_stream_follows_notices_and_edits_in_any_order(var, tmp_path, order):
    text = "My neighbor is a liar, I hate her"
    open_feedback(var).add(FeedbackLabel(text, "negative", by="desk 4"))
    classifier = Classifier(tiny_bundle(tmp_path / "tiny"), threads=1)
    records = RECORDS if order == "as sent" else RECORDS[::-1]
    runs = [records[:6], records[6:]] if order == "as sent" else [records[:4], records[4:]]
    for number, part in enumerate(runs):
        summary = run_stream(part, classifier, var, run_id=f"{order}-{number}".replace(" ", "-"))
        assert summary.dead_letters == 0
    with connect(var) as client:
        assert shown(client).keys() == {"1007", "1014"} and "ate my ticket" in shown(client)["1014"]
        (total,) = ask(client, "distribution", since=SINCE, until=AT)
        assert total["messages"] == 2
        assert count_notices(client) == {"delete": 1, "scrub_geo": 1, "user_delete": 1, "withheld": 1}
    again = run_stream([*records, tweet("1008", text, retweet_count=5)], classifier, var, run_id="again")
    assert again.messages == 2  # copies at other offsets are left out too
    result = CliRunner().invoke(app, ["forget", "--json"])
    outcome = json.loads(result.stdout)
    assert result.exit_code == 0 and outcome["done"] and pending.read(var)[0] == []
    assert open_feedback(var).is_empty()
    with connect(var) as client:
        assert find_left(client, [Request("message", "1008"), Request("author", "78", requested_at=AT)]) == {}
        assert client.query("SELECT count() FROM predictions WHERE text LIKE '%liar%'").result_rows == [(0,)]


def test_forget_by_hand_reports_and_checks(var):
    open_feedback(var).add(FeedbackLabel("any text", "negative", by="bob"))
    result = CliRunner().invoke(app, ["forget", "--author", "bob", "--message", "1008"])
    assert result.exit_code == 0, result.output
    assert "feedback" in result.output and "Checked: no store holds any of it." in result.output
    assert open_feedback(var).is_empty()
    assert "Nothing is pending" in CliRunner().invoke(app, ["forget"]).output
    assert CliRunner().invoke(app, ["forget", "--message", " "]).exit_code == 2


@pytest.mark.parametrize("kind", ["delete", "withheld"])
def test_notice_about_a_message_asks_to_forget_it(kind):
    assert request_of(Notice(kind, "1", "2"), AT) == Request("message", "1", kind, AT)


@pytest.mark.parametrize("kind", ["user_delete", "user_protect", "user_suspend", "user_withheld"])
def test_notice_about_an_author_asks_to_forget_what_was_written_until_then(kind):
    stated = AT - timedelta(days=1)
    assert request_of(Notice(kind, author="2", at=stated), AT) == Request("author", "2", kind, stated)


@pytest.mark.parametrize("kind", ["undelete", "scrub_geo", "user_undelete", "user_unprotect", "user_unsuspend"])
def test_other_notices_ask_to_forget_nothing(kind):
    assert request_of(Notice(kind, "1", "2", "3"), AT) is None
