"""Cut tweets are read whole (tweepy/tweepy#1194, odrling/peony-twitter#6, tweepy/tweepy#935, #974, xdevplatform/samples#2)."""

import json

import pyarrow as pa
import pytest

from data.contracts import Event
from data.tables import open_table
from serving.lakehouse.messages import read_messages
from serving.streaming.decode import decode
from serving.streaming.producer import file_events

WHOLE = (
    "The crew was kind, the seats were fine and boarding took no time, yet the flight left five hours late without a word. "
    "Dreadful. #never @northline"
)
CUT = f"{WHOLE[:110]}… https://t.co/xyz"
TWEETS = {
    "extended": {"id": 501, "text": CUT, "truncated": True, "extended_tweet": {"full_text": WHOLE}},
    "retweet": {"id": 501, "full_text": f"RT @a: {CUT}", "retweeted_status": {"id": 1, "full_text": WHOLE}},
    "retweet of an extended one": {
        "id": 501,
        "text": f"RT @a: {CUT}",
        "retweeted_status": {"id": 1, "text": CUT, "truncated": True, "extended_tweet": {"full_text": WHOLE}},
    },
    "note": {"data": {"id": "501", "text": CUT, "note_tweet": {"text": WHOLE}}},
    "retweet of a note": {
        "data": {"id": "501", "text": f"RT @a: {CUT}", "referenced_tweets": [{"type": "retweeted", "id": "1"}]},
        "includes": {"tweets": [{"id": "1", "text": CUT, "note_tweet": {"text": WHOLE}}]},
    },
    "activity": {"id": "tag:x:501", "objectType": "activity", "verb": "post", "body": CUT, "long_object": {"body": WHOLE}},
}


@pytest.mark.parametrize("kind", TWEETS)
def test_lakehouse_stream_and_files_read_the_whole_text(kind, tmp_path):
    line = json.dumps({"created_at": "Tue Oct 10 20:19:24 +0000 2023", **TWEETS[kind]})
    ((row,),) = read_messages(pa.array([line])).to_pylist()
    assert (row["id"], row["text"], row["reason"], row["is_share"]) == ("501", WHOLE, None, kind.startswith("retweet"))
    assert (row["mentions"], row["hashtags"]) == (["northline"], ["never"])
    event = decode(line.encode())
    assert isinstance(event, Event) and (event.id, event.text) == ("501", WHOLE)
    file = tmp_path / "tweets.jsonl"
    file.write_text(line + "\n")
    assert [row["text"] for rows, _ in open_table(file, ["text"]).chunks() for row in rows] == [WHOLE]
    assert list(file_events(file)) == [line.encode()]


def test_quoted_text_is_not_the_tweets_own():
    tweet = {"id": 1, "text": "No.", "quoted_status": {"id": 2, "full_text": WHOLE}}
    ((row,),) = read_messages(pa.array([json.dumps(tweet)])).to_pylist()
    assert row["text"] == "No." and not row["is_share"]
