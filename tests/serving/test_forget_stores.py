"""Forgetting in the Delta tables, the files of the service and all stores together, without Spark and without a warehouse."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from data.feedback import FeedbackLabel, open_feedback
from data.forgetting import Request
from serving.forgetting import pending
from serving.forgetting.everywhere import forget_everywhere
from serving.forgetting.stores import Feedback, Found, Lakehouse, Service, stores_of
from serving.lakehouse import forget, forgotten, search
from serving.lakehouse.paths import table
from serving.lakehouse.status import forgotten_records, open_table
from serving.service.forget import FORGOTTEN
from tests.serving.forget_harness import results, service, tables

NOW = datetime(2026, 2, 1, tzinfo=UTC)
SECRET, KEPT = "my neighbor is a liar \u2028 with a line", "the flight was great"


def tweet(identity, text, author="77", **more):
    user = {"id_str": author, "screen_name": f"name_{author}"}
    return {"id_str": identity, "text": text, "created_at": "2026-01-01T10:00:00Z", "user": user, **more}


@pytest.fixture
def root(tmp_path):
    records = [
        tweet("1001", SECRET),
        tweet("1002", KEPT, "78"),
        tweet("1004", "newest edit", "79", edit_history_tweet_ids=["1003", "1004"]),
        tweet("1010", "about 1001 and @name_77", "78"),
        tweet("1011", "later", "77", created_at="2026-03-01T10:00:00Z"),
    ]
    rejected = [
        ("superseded", tweet("1001", "an older copy")),
        ("superseded", tweet("1003", "first edit", "79")),
        ("blank text", tweet("1012", "")),
        ("notice: delete", {"delete": {"status": {"id_str": "1001", "user_id_str": "77"}}}),
    ]
    return tables(tmp_path / "lake", records, rejected)


def rows(root, layer, *columns):
    return DeltaTable(table(root, layer)).to_pyarrow_table(columns=list(columns)).to_pylist()


def ids(root, layer="silver"):
    return {row["id"] for row in rows(root, layer, "id")}


def total(root):
    """Records, rows of Silver and rejected ones: the first is the sum of the others."""
    bronze = open_table(root, "bronze")
    counts = [open_table(root, layer).count() for layer in ("bronze", "silver", "silver_rejected")]
    return counts[0] + forgotten_records(bronze), counts[1] + counts[2]


def message(value, **more):
    return Request("message", value, **{"requested_at": NOW} | more)


def author(value, **more):
    return Request("author", value, **{"requested_at": NOW} | more)


def test_message_leaves_every_layer_and_the_counts_add_up(root):
    removed = forget.forget_messages(root, [message("1001", reason="delete")], bronze=True)
    assert removed == {"silver": 1, "gold": 1, "silver_rejected": 2, "bronze": 3}
    assert ids(root) == ids(root, "gold") == {"1002", "1004", "1010", "1011"}
    cleared = [row["reason"] for row in rows(root, "silver_rejected", "reason", "id") if row["id"] is None]
    assert sorted(cleared) == ["forgotten: delete", "forgotten: delete", "notice: delete"]
    assert not any("older copy" in (row["raw"] or "") for row in rows(root, "silver_rejected", "raw"))
    assert total(root) == (9, 9)
    assert forget.find_left(root, [message("1001")], bronze=True) == {}
    assert forget.forget_messages(root, [message("1001")], bronze=True) == {
        "silver": 0,
        "gold": 0,
        "silver_rejected": 0,
        "bronze": 0,
    }
    assert total(root) == (9, 9)


def test_record_that_only_mentions_the_id_stays(root):
    forget.forget_messages(root, [message("1001")], bronze=True)
    assert "1010" in ids(root) and any("about 1001" in row["raw"] for row in rows(root, "bronze", "raw"))


@pytest.mark.parametrize("identity", ["1003", "1004"])
def test_all_edits_of_a_message_go_with_it(root, identity):
    forget.forget_messages(root, [message(identity)], bronze=True)
    assert "1004" not in ids(root) | ids(root, "gold")
    assert not any("edit" in (row["raw"] or "") for layer in ("bronze", "silver_rejected") for row in rows(root, layer, "raw"))


def test_author_goes_with_all_records_up_to_the_request(root):
    forget.forget_messages(root, [author("77")], bronze=True)
    assert ids(root) == {"1002", "1004", "1010", "1011"}  # 1011 was written later
    assert forget.find_left(root, [author("77")], bronze=True) == {}
    assert total(root) == (9, 9)


def test_each_rejected_copy_gets_the_reason_of_its_own_request(root):
    forget.forget_messages(root, [message("1003", reason="delete"), author("77", reason="user_delete")], bronze=False)
    reasons = [row["reason"] for row in rows(root, "silver_rejected", "reason")]
    assert sorted(reasons) == ["forgotten: delete"] * 2 + ["forgotten: user_delete"] * 3 + ["notice: delete"]


def test_author_is_found_by_name(root):
    assert [one.value for one in search.find_author_ids(root, [author("@NAME_77")])] == ["77"]
    assert search.find_author_ids(root, [author("unknown")]) == []


def test_notice_leaves_bronze_to_the_maintenance(root):
    assert "bronze" not in forget.forget_messages(root, [message("1001", reason="delete")], bronze=False)
    assert forget.find_left(root, [message("1001")], bronze=False) == {}
    assert forget.find_left(root, [message("1001")], bronze=True) == {"bronze": 3}
    assert forgotten.unpurged(root) is not None
    assert forget.purge_bronze(root) == 3 and forget.purge_bronze(root) == 0
    newest = forgotten.unpurged(root)
    assert newest is not None
    forgotten.mark_purged(root, newest)
    assert forgotten.unpurged(root) is None and len(forgotten.read_keys(root)) == 1


def test_keys_hold_no_id_and_each_is_there_once(root):
    for _ in range(2):
        forgotten.remember(root, [message("1001"), author("77")])
    keys = forgotten.read_keys(root)
    assert [(row["kind"], len(row["key"])) for row in keys] == [("message", 64), ("author", 64)]
    assert [row["until"] for row in keys] == [None, NOW]


def test_scrubbed_author_loses_raw_records_up_to_the_id_and_keeps_the_messages(root):
    before = ids(root)
    forgotten.remember(root, [forget.places_of("77", "1005"), forget.places_of("77", "9"), forget.places_of("unknown", None)])
    assert forget.scrub(root) == 3  # both copies of 1001 and a notice; 1011 is later
    raw = [row["raw"] or "" for layer in ("bronze", "silver_rejected") for row in rows(root, layer, "raw")]
    assert not any(SECRET[:20] in text or "older copy" in text for text in raw) and any("later" in text for text in raw)
    assert ids(root) == ids(root, "gold") == before and total(root) == (9, 9)
    assert forget.scrub(root) == 0, "a repeated call changes nothing"
    assert [row["kind"] for row in forgotten.read_keys(root)] == ["places"] * 3 and forgotten.unpurged(root) is not None
    forgotten.remember(root, [forget.places_of("77", None)])
    assert forget.scrub(root) == 1 and forget.scrub(root) == 0, "a notice without an id means all messages"


@pytest.mark.parametrize("step", ["_clear_rejected", "_reject", "_delete_ids", "_append_rejected", "_delete"])
def test_call_that_was_killed_anywhere_is_finished_by_the_next(root, monkeypatch, step):
    asked, work = [message("1001"), message("1003")], getattr(forget, step)

    def killed(*given):
        work(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(forget, step, killed)
        forget.forget_messages(root, asked, bronze=False)
    forget.forget_messages(root, asked, bronze=True)
    assert forget.find_left(root, asked, bronze=True) == {} and total(root) == (9, 9)
    assert ids(root) == ids(root, "gold") == {"1002", "1010", "1011"}


@pytest.fixture
def var(tmp_path):
    return tmp_path / "var"


class Reports:
    """A store that fails while it is down."""

    name = "down"

    def __init__(self):
        self.down, self.forgotten = True, []

    def find(self, requests):
        if self.down:
            raise ConnectionError("connection refused\nstack")
        return Found()

    def forget(self, wanted):
        self.forgotten.append({request.value for request in wanted.requests})
        return {}

    def left(self, wanted):
        return {}


def bundle(var, monkeypatch):
    monkeypatch.setattr(Service, "_cache_names", lambda _: ["f"])
    return service(var, [SECRET, KEPT], "f")


def test_feedback_jobs_and_cache_follow_the_text(root, var, monkeypatch):
    job = bundle(var, monkeypatch)
    outcome = forget_everywhere(var, [Feedback(var), Service(var), Lakehouse(root)], [message("1001")])
    assert outcome.done and pending.read(var) == ([], [])
    assert outcome.removed["feedback"] == {"labels": 1} and outcome.removed["service"] == {"jobs": 2, "cache": 1}
    assert open_feedback(var).rows()["text"].to_list() == [f" {KEPT}\n"]
    gone, kept = results(var, job)
    assert gone == {"id": f"{job}-0", "error": FORGOTTEN} and kept["windows"] == [{"text": KEPT}]
    stored = b"".join(path.read_bytes() for path in Path(var).rglob("*.db*"))
    assert SECRET[:22].encode() not in stored and KEPT.encode() in stored


def test_feedback_that_the_author_gave_goes_with_the_author(root, var):
    open_feedback(var).add(FeedbackLabel("any text", "positive", by="name_77"))
    open_feedback(var).add(FeedbackLabel("any text", "positive", by="desk 4"))
    outcome = forget_everywhere(var, [Feedback(var), Lakehouse(root)], [author("name_77")])
    assert outcome.done and outcome.removed["feedback"] == {"labels": 1}
    assert {"1001", "77", "name_77"} <= {request.value for request in outcome.requests} and "1001" not in ids(root)


def test_store_that_is_down_keeps_the_requests_for_the_next_call(root, var):
    down = Reports()
    first = forget_everywhere(var, [Lakehouse(root), down], [author("name_77")])
    assert first.failed == {"down": "connection refused"} and not first.done and "1001" not in ids(root)
    down.down = False
    second = forget_everywhere(var, [Lakehouse(root), down])
    assert second.done and down.forgotten == [{"name_77", "77", "1001", "1012"}]
    assert forget_everywhere(var, [Lakehouse(root), down]).requests == []


def test_check_names_the_place_where_something_is_left(root, var, monkeypatch):
    monkeypatch.setattr(forget, "_delete", lambda *_: 0)
    outcome = forget_everywhere(var, [Lakehouse(root)], [message("1001")])
    assert outcome.left == {"lakehouse": {"gold": 1}} and not outcome.done
    assert len(pending.read(var)[0]) == 1


def test_later_request_for_an_author_wins(var):
    pending.add(var, [author("77")])
    pending.add(var, [author("77", requested_at=NOW + timedelta(days=1)), message("1")])
    pending.add(var, [author("77")])
    requests, files = pending.read(var)
    assert len(files) == 2 and [one.requested_at - NOW for one in requests if one.kind == "author"] == [timedelta(days=1)]


def test_only_stores_that_exist_are_searched(root, var, tmp_path):
    assert [store.name for store in stores_of(var, str(tmp_path / "no lake"))] == ["feedback", "service"]
    assert [store.name for store in stores_of(var, root)] == ["feedback", "service", "lakehouse"]
