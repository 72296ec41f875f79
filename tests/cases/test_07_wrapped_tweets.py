"""Tweets in `data`, in `tweet` and in pages are read (DocNow/twarc#508, DocNow/twarc#473)."""

import json

import pyarrow as pa

from data.contracts import Event
from data.tables import open_table
from data.tweets import Notice
from serving.lakehouse.messages import read_messages
from serving.streaming.decode import decode
from serving.streaming.producer import file_events

PAGE = {
    "data": [
        {"id": "71", "text": "On time, well done", "author_id": "9", "created_at": "2023-10-10T20:19:24.000Z"},
        {"id": "72", "text": "RT @a: Never on…", "author_id": "9", "referenced_tweets": [{"type": "retweeted", "id": "5"}]},
        {"id": "73"},
    ],
    "includes": {"tweets": [{"id": "5", "text": "Never on time"}, {"id": "6", "text": "unrelated"}], "users": [{"id": "9"}]},
    "meta": {"result_count": 3},
}


def test_page_gives_a_row_for_each_tweet_and_one_item_is_the_first():
    (rows,) = read_messages(pa.array([json.dumps(PAGE)])).to_pylist()
    assert [(row["item"], row["id"], row["text"], row["reason"]) for row in rows] == [
        (None, "71", "On time, well done", None),
        (1, "72", "Never on time", None),
        (2, "73", None, "no text"),
    ]


def test_page_is_sent_tweet_by_tweet_and_refused_as_one_message(tmp_path):
    file = tmp_path / "pages.jsonl"
    file.write_text(json.dumps(PAGE) + "\n\n")
    events = [decode(value) for value in file_events(file)]
    assert [event.text if isinstance(event, Event) else event for event in events] == [
        "On time, well done",
        "Never on time",
        "no text",
    ]
    assert "a page of 3 messages" in str(decode(json.dumps(PAGE).encode()))
    rows = [row for chunk, _ in open_table(file, ["text"]).chunks() for row in chunk]
    assert [row["text"] for row in rows] == ["On time, well done", "Never on time"]


def test_filtered_stream_and_archive_are_events():
    found = decode(json.dumps({"data": PAGE["data"][0], "matching_rules": [{"id": "1"}]}).encode())
    assert isinstance(found, Event) and (found.id, found.author_id, found.source) == ("71", "9", "tweets")
    archived = {"tweet": {"id_str": "74", "full_text": "Seats are fine", "source": '<a href="x">Twitter Web App</a>'}}
    found = decode(json.dumps(archived).encode())
    assert isinstance(found, Event) and (found.id, found.text, found.source) == ("74", "Seats are fine", "Twitter Web App")


def test_events_of_the_account_activity_api_are_sent_one_by_one(tmp_path):
    file = tmp_path / "activity.jsonl"
    created = [{"id_str": str(number), "text": f"Seat {number}", "user": {"id_str": "9"}} for number in (75, 76)]
    deleted = [{"status": {"id": "75", "user_id": "9"}}, {"status": {"id": "76", "user_id": "9"}}]
    records = {"tweet_create_events": created}, {"tweet_delete_events": deleted}
    file.write_text("\n".join(json.dumps({"for_user_id": "9", **record}) for record in records))
    found = [decode(value) for value in file_events(file)]
    assert [one.text if isinstance(one, Event) else one for one in found] == [
        "Seat 75",
        "Seat 76",
        Notice("delete", "75", "9"),
        Notice("delete", "76", "9"),
    ]
