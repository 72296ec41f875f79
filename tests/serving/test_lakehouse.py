"""The lakehouse on real Spark, Delta, Kafka and a fake S3: every record is accounted for, after any failure."""

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from data.errors import LakehouseError
from data.raw_tweets import write_raw_tweets
from serving.classifier import Classifier
from serving.lakehouse import views as sentiment_views
from serving.lakehouse.paths import LAYERS, table
from serving.lakehouse.status import open_table, read_status
from tests.cases.mixed_day import FILES, reference, write_day, write_files
from tests.models import headed_bundle, tiny_bundle
from tests.serving.lakehouse_harness import Tables, environment, rows_of, s3, session, start, texts
from tests.serving.running import serving
from tests.waiting import until, until_passes

pytestmark = pytest.mark.integration
KILLS = int(os.environ.get("LAKEHOUSE_KILLS", "1"))
"""Number of kills of the driver; `make test-lakehouse` sets more."""
# Not `copy.line`: it increases within a file, but its start depends on how files were assigned to tasks.
SILVER = ("id", "text", "cleaned", "source", "created_at", "event_at", "lang", "user_id", "mentions", "hashtags", "true_label")
GOLD = (
    *(name for name in SILVER if name != "cleaned"),
    "label",
    "confidence",
    "negative",
    "neutral",
    "positive",
    "model_version",
)
_AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def spark():
    # The second one requires authentication and has no users.
    with s3() as url, s3(INITIAL_NO_AUTH_ACTION_COUNT="0") as closed, pytest.MonkeyPatch.context() as patch:
        for name, value in (_AWS | {"AWS_ENDPOINT_URL_S3": url}).items():
            patch.setenv(name, value)
        # A bucket at an address without a server, and one that denies access.
        places = {"gone": "http://127.0.0.1:9", "closed": closed}
        given = {f"spark.hadoop.fs.s3a.bucket.{name}.endpoint": at for name, at in places.items()}
        # Java may have been started by the tests of another file, before these variables were set.
        keys = {"access.key": _AWS["AWS_ACCESS_KEY_ID"], "secret.key": _AWS["AWS_SECRET_ACCESS_KEY"]}
        with session(**given, **{f"spark.hadoop.fs.s3a.{name}": value for name, value in keys.items()}) as opened:
            yield opened


@pytest.fixture(scope="module")
def big(spark, bundle, tmp_path_factory):
    """6,000 raw tweets in all three layers, with the expected result."""
    folder = tmp_path_factory.mktemp("big")
    expected = write_raw_tweets(folder / "raw", texts(1_500), count=6_000)
    tables = Tables(spark, str(folder / "lake"), bundle, files_per_batch=10).make()
    tables.once(folder / "raw")
    return tables, expected, folder / "raw"


@pytest.fixture
def tables(spark, bundle, tmp_path):
    return Tables(spark, str(tmp_path / "lake"), bundle).make()


def put(folder: Path, name: str, *records: dict | str | bytes) -> Path:
    """Write a file of lines that appears complete."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode() for line in records
    ]
    (folder / f".{name}").write_bytes(b"\n".join(lines) + b"\n")
    return (folder / f".{name}").rename(folder / name)


def tweet(identity: str, text: str = "the flight was great", **more) -> dict:
    return {"id": identity, "text": text, "created_at": "2026-01-01T10:00:00Z", **more}


def test_6_000_raw_tweets_are_all_accounted_for_by_reason(big):
    tables, expected, _ = big
    tables.holds(expected)
    status = read_status(tables.root)
    assert status.behind_silver == 0 and status.behind_gold == 0 and status.reasons == expected.rejected


def test_new_field_is_readable_from_its_first_record_on(big):
    tables, _, raw = big
    places = tables.read("bronze").where("record['place'] IS NOT NULL")
    files = {Path(row[0]).name for row in places.select("source_file").distinct().collect()}
    halves = sorted(path.name for path in raw.iterdir())
    assert files == set(halves[len(halves) // 2 :])


def test_unparsable_line_is_kept_byte_for_byte(big):
    tables, expected, raw = big
    kept = {bytes(row[0]) for row in tables.read("bronze").where("rescued IS NOT NULL").select("rescued").collect()}
    lines = {line for path in raw.iterdir() for line in path.read_bytes().split(b"\n")}
    assert kept <= lines and b"\xe9" in b"".join(kept)
    assert tables.read("bronze").where("rescued IS NOT NULL").count() == expected.rejected["not json"]


def test_predictions_equal_those_of_the_classifier(big):
    tables, _, _ = big
    rows = rows_of(tables.root, "gold", GOLD)[:5_000]
    predictions = Classifier(tables.bundle, threads=1).classify([row["text"] for row in rows])
    for row, prediction in zip(rows, predictions, strict=True):
        assert (row["label"], row["confidence"]) == (prediction.label, prediction.confidence)
        assert (row["negative"], row["neutral"], row["positive"]) == prediction.probabilities


def test_the_head_of_the_sources_domain_decides(big, tmp_path):
    from serving.lakehouse.classify import bundle_udf

    spark = big[0].spark
    texts = [("the film was great", source) for source in ("desk", "wall", None, "desk")]
    classify = bundle_udf(spark, headed_bundle(tmp_path / "headed"), domains={"desk": "finance"})
    rows = spark.createDataFrame(texts, "text string, source string").select(classify("text", "source").alias("p"), "source")
    assert sorted((row.source or "", row.p.label) for row in rows.collect()) == [
        ("", "positive"),
        ("desk", "negative"),
        ("desk", "negative"),
        ("wall", "positive"),
    ]


def test_each_python_worker_loads_the_model_once(big):
    tables, _, _ = big

    def loads(batches):
        import os

        import pyarrow as pa

        from serving.lakehouse.classify import CachingClassifier

        for _ in batches:
            pass
        yield pa.RecordBatch.from_pydict({"pid": [os.getpid()], "loads": [CachingClassifier.loads]})

    workers = tables.spark.range(0, 400, 1, 4).mapInArrow(loads, "pid long, loads long").distinct().collect()
    assert workers and all(row.loads <= 1 for row in workers) and any(row.loads == 1 for row in workers)


def test_running_again_writes_nothing(big):
    tables, _, raw = big
    before = [read_status(tables.root).tables[k].version for k in range(4)]
    tables.once(raw)
    assert [read_status(tables.root).tables[k].version for k in range(4)] == before


def test_repeated_micro_batch_changes_nothing(big):
    from serving.lakehouse.classify import bundle_udf
    from serving.lakehouse.writing import write_bronze, write_gold, write_silver

    tables, _, _ = big
    before = {layer: sorted(map(repr, tables.read(layer).collect())) for layer in ("silver", "gold")}
    counts = tables.counts()
    changes = tables.spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", 0)
    write_gold(
        tables.root, changes.load(table(tables.root, "silver")), lambda: bundle_udf(tables.spark, tables.bundle, domains={})
    )
    # A crash before the checkpoint is written: the same stream runs the same batch number a second time.
    lines = tables.spark.createDataFrame([(bytearray(b"{}"), None, "t", 0, 7, datetime.now(UTC), 0)], _LINE)
    version = read_status(tables.root).tables[1].version
    for _ in range(2):
        write_bronze(tables.root, lines, "again", 0)
        write_silver(tables.root, tables.read("bronze").where("topic = 't'"), "again", 0)
    assert tables.read("bronze").where("topic = 't'").count() == 1
    assert tables.read("silver_rejected").where("copy.origin = 't'").count() == 1
    assert read_status(tables.root).tables[1].version == version, "no valid message for Silver, so no new version"
    tables.spark.sql(f"DELETE FROM delta.`{table(tables.root, 'bronze')}` WHERE topic = 't'")
    tables.spark.sql(f"DELETE FROM delta.`{table(tables.root, 'silver_rejected')}` WHERE copy.origin = 't'")
    assert tables.counts() == counts
    assert {layer: sorted(map(repr, tables.read(layer).collect())) for layer in ("silver", "gold")} == before


_LINE = "value binary, source_file string, topic string, partition int, offset long, arrived_at timestamp, block long"


@pytest.mark.parametrize("one_batch", [True, pytest.param(False, marks=pytest.mark.lakehouse)])
def test_copies_of_a_record_give_the_same_result_however_they_are_batched(tables, tmp_path, one_batch):
    raw = tmp_path / "raw"
    steps = [
        [tweet("1"), tweet("1"), tweet("2", "the film was awful"), tweet("3", edited_at="2026-01-03T00:00:00Z")],
        [tweet("2", "the film was great"), tweet("3", "too late: stated before", edited_at="2026-01-02T00:00:00Z")],
        [tweet("2", "the film was great"), tweet("4", "   "), tweet("4"), "[1]", "", '{"id": "5", "text": "x"} {"id": "6"}'],
    ]
    for number, records in enumerate(steps):
        path = put(raw, f"{number}.json", *records)
        os.utime(path, (1_790_000_000 + number, 1_790_000_000 + number))
        if not one_batch:
            tables.once(raw)
    tables.once(raw)
    assert {row["id"]: row["text"] for row in rows_of(tables.root, "gold", ("id", "text"))} == {
        "1": "the flight was great",
        "2": "the film was great",
        "3": "the flight was great",
        "4": "the flight was great",
    }
    assert tables.reasons() == {"duplicate": 2, "superseded": 2, "blank text": 1, "not json": 2}


def test_table_of_another_program_is_rejected_and_not_changed(spark, bundle, tmp_path):
    root = str(tmp_path / "lake")
    spark.createDataFrame([("1", 2)], "id string, label int").write.format("delta").save(table(root, "gold"))
    with pytest.raises(LakehouseError, match=r"(?s)gold is not Groundswell's.*text missing.*text string.*LAKEHOUSE__ROOT"):
        Tables(spark, root, bundle).make()
    assert spark.read.format("delta").load(table(root, "gold")).count() == 1


def test_checkpoint_of_another_table_is_reported_and_not_changed(tables, tmp_path):
    import shutil

    put(tmp_path / "raw", "1.json", tweet("1"))
    tables.once(tmp_path / "raw")
    shutil.rmtree(table(tables.root, "bronze"))
    tables.make()
    kept = sorted(path.name for path in Path(f"{tables.root}/checkpoints/silver").rglob("*"))
    with pytest.raises(LakehouseError, match=r"(?s)checkpoint belongs to another table.*Move that layer's folder"):
        tables.once(None)
    assert sorted(path.name for path in Path(f"{tables.root}/checkpoints/silver").rglob("*")) == kept
    assert tables.counts()["gold"] == 1


def test_bundle_that_an_executor_cannot_load_stops_gold_and_loses_nothing(tables, tmp_path):
    broken = tiny_bundle(tmp_path / "broken", strength=3.0)
    sound, model = tables.bundle, (broken.directory / "model.onnx").read_bytes()
    (broken.directory / "model.onnx").write_bytes(model[:-10])
    put(tmp_path / "raw", "1.json", tweet("1"))
    tables.bundle = broken
    with pytest.raises(LakehouseError, match=r"(?s)workers failed.*model\.onnx is not the file that was written"):
        tables.once(tmp_path / "raw")
    assert tables.counts() == {"bronze": 1, "silver": 1, "silver_rejected": 0, "gold": 0}
    tables.bundle = sound
    tables.once(tmp_path / "raw")
    assert tables.counts()["gold"] == 1


def test_s3_holds_records_and_tables(spark, bundle):
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"])
    client.create_bucket(Bucket="lake")
    client.put_object(Bucket="lake", Key="raw/1.json", Body=b"\n".join(json.dumps(tweet(str(k))).encode() for k in range(50)))
    tables = Tables(spark, "s3a://lake/tables", bundle).make()
    tables.once("s3a://lake/raw")
    status = read_status("s3a://lake/tables")
    assert status.rows("gold") == 50 and status.behind_silver == 0
    for key in client.list_objects_v2(Bucket="lake")["Contents"]:
        client.delete_object(Bucket="lake", Key=key["Key"])
    client.delete_bucket(Bucket="lake")
    with pytest.raises(LakehouseError, match=r"(?s)(bucket does not exist|does not exist).*remedy"):
        tables.once("s3a://lake/raw")


def test_unreachable_bucket_is_named(spark, bundle):
    with pytest.raises(LakehouseError, match=r"(?s)A server is not reachable.*s3a://gone"):
        Tables(spark, "s3a://gone/lake", bundle).make()


def test_bucket_without_access_is_reported(spark, bundle):
    with pytest.raises(LakehouseError, match=r"(?s)S3 denied access.*s3a://closed.*AWS_ACCESS_KEY_ID"):
        Tables(spark, "s3a://closed/lake", bundle).make()


@pytest.mark.lakehouse
def test_full_disk_stops_the_run_and_the_same_command_resumes(spark, bundle, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        tables = Tables(spark, str(disk / "lake"), bundle).make()
        put(tmp_path / "raw", "1.json", *(tweet(str(number), text) for number, (text, _) in enumerate(texts(60))))
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        os.truncate(filler, filler.stat().st_size - 40_960)  # enough for a batch to begin
        with pytest.raises(LakehouseError, match=r"(?s)The disk is full.*lakehouse maintain"):
            tables.once(tmp_path / "raw")
        filler.unlink()
        tables.once(tmp_path / "raw")
        assert tables.counts() == {"bronze": 60, "silver": 60, "silver_rejected": 0, "gold": 60}
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.lakehouse
def test_api_predicts_the_same_as_the_bundle(tables, tmp_path):
    written = [text for text, _ in texts(300)]
    put(tmp_path / "raw", "1.json", *(tweet(f"{number:03}", text) for number, text in enumerate(written)))
    with serving(tables.bundle, tmp_path) as (client, _):
        tables.more = {"classify_with": "api", "api_url": str(client.base_url)}
        tables.once(tmp_path / "raw")
    rows = rows_of(tables.root, "gold", GOLD)
    assert [row["text"] for row in rows] == written
    for row, prediction in zip(rows, Classifier(tables.bundle, threads=1).classify(written), strict=True):
        assert (row["label"], row["model_version"]) == (prediction.label, tables.bundle.manifest.version)
        numbers = [row[name] for name in ("confidence", "negative", "neutral", "positive")]
        assert numbers == pytest.approx([prediction.confidence, *prediction.probabilities], abs=1e-5)
    put(tmp_path / "raw", "2.json", tweet("late"))
    with pytest.raises(LakehouseError, match="LAKEHOUSE__API_URL"):  # the API is down now
        tables.once(tmp_path / "raw")
    assert tables.counts()["gold"] == len(written)


@pytest.mark.lakehouse
def test_backfill_during_the_stream_and_return_to_the_old_version(spark, bundle, tmp_path):
    from serving.lakehouse.compare import summarize
    from serving.lakehouse.rescore import rescore
    from serving.lakehouse.run import local_source, run_until_stopped

    raw, stop, failed = tmp_path / "raw", threading.Event(), []
    tables = Tables(spark, str(tmp_path / "lake"), bundle).make()
    put(raw, "0.json", *(tweet(f"{k:03}", text) for k, (text, _) in enumerate(texts(150))))
    tables.once(raw)
    first = rows_of(tables.root, "gold", GOLD)
    version = read_status(tables.root).tables[3].version
    # This bundle rarely predicts positive, so its labels differ.
    shy = tiny_bundle(tmp_path / "shy", thresholds={"positive": 0.999, "negative": 0.0, "neutral": 0.0})

    def stream() -> None:
        try:
            run_until_stopped(tables.lake, local_source(str(raw)), every_s=0, stop=stop)
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=stream)
    thread.start()
    day = {"since": datetime(2026, 1, 1, tzinfo=UTC), "until": datetime(2026, 1, 2, tzinfo=UTC)}
    try:
        for number in range(1, 4):
            put(raw, f"{number}.json", *(tweet(f"{number}-{k}", text) for k, (text, _) in enumerate(texts(30))))
        assert rescore(spark, tables.root, shy, **day, make_current=True) >= 150
        until(lambda: read_status(tables.root).rows("gold") == 240 or failed, every_s=0.5)
    finally:
        stop.set()
        thread.join(600)
    assert not failed and not thread.is_alive()
    current = {row["id"]: row for row in rows_of(tables.root, "gold", GOLD)}
    assert all(current[row["id"]]["model_version"] == shy.manifest.version for row in first)
    comparison = summarize(tables.read("gold"), bundle.manifest.version, shy.manifest.version)
    positives = sum(row["label"] == "positive" for row in first)
    assert comparison.both >= 150 and comparison.changed >= positives > 0
    # Back to the old version: no row is classified again, and its predictions are unchanged.
    rescore(spark, tables.root, bundle, **day, make_current=True)
    ids = {row["id"] for row in first}
    assert [row for row in rows_of(tables.root, "gold", GOLD) if row["id"] in ids] == first
    # The table version from before the backfill is still readable.
    then = tables.read("gold", version=version)
    assert then.count() == 150 and then.where("size(answers) > 1").count() == 0


@pytest.mark.lakehouse
def test_maintenance_keeps_the_rows_in_few_files(tables, tmp_path):
    from serving.lakehouse.maintain import maintain

    def age(identity: str) -> None:
        bronze = table(tables.root, "bronze")
        tables.spark.sql(f"UPDATE delta.`{bronze}` SET ingested_at = '2020-01-01' WHERE record['id'] = '{identity}'")

    tables.files_per_batch = 1
    for number in range(3):
        put(tmp_path / "raw", f"{number}.json", tweet(str(number)))
    tables.once(tmp_path / "raw")
    before = rows_of(tables.root, "gold", GOLD)
    settings = tables.lake.settings.model_copy(update={"keep_raw_days": 30})
    age("0")
    bronze = {row.layer: row for row in maintain(tables.spark, tables.root, settings)}["bronze"]
    assert (bronze.files_before, bronze.files_after, bronze.forgotten) == (3, 1, 1)
    assert rows_of(tables.root, "gold", GOLD) == before
    # Deleted records stay in the total, and new records are processed as before.
    put(tmp_path / "raw", "9.json", tweet("9"))
    tables.once(tmp_path / "raw")
    age("1")
    assert maintain(tables.spark, tables.root, settings)[0].forgotten == 1
    status = read_status(tables.root)
    assert (status.rows("bronze"), status.forgotten, status.behind_silver, status.rows("gold")) == (2, 2, 0, 4)


def test_kills_at_random_points_give_the_tables_of_an_undisturbed_run(spark, bundle, tmp_path):
    expected = write_raw_tweets(tmp_path / "raw", texts(900), count=1_500, files=20)
    undisturbed = Tables(spark, str(tmp_path / "quiet"), bundle, files_per_batch=5).make()
    undisturbed.once(tmp_path / "raw")
    undisturbed.holds(expected)

    root, log = str(tmp_path / "killed"), tmp_path / "log"
    surroundings = environment(root, bundle, tmp_path / "var", GROUNDSWELL_LAKEHOUSE__FILES_PER_BATCH="5")
    dice, killed = random.Random(), 0
    for _ in range(KILLS):
        process = start(surroundings, "run", "--every", "0s", "--source", str(tmp_path / "raw"), log=log)
        wait_for(lambda: "Ctrl-C stops" in log.read_text(), process, log)
        log.write_text("")
        time.sleep(dice.uniform(0.5, 9))  # the random point
        killed += process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    process = start(surroundings, "run", "--every", "0s", "--source", str(tmp_path / "raw"), log=log)
    wait_for(lambda: _settled(root, expected.silver), process, log)
    process.send_signal(signal.SIGTERM)
    assert process.wait(450) == 0 and "Stopped" in log.read_text(), log.read_text()
    assert killed == KILLS
    for layer, columns in (("silver", SILVER), ("gold", GOLD)):
        assert rows_of(root, layer, columns) == rows_of(undisturbed.root, layer, columns)
    Tables(spark, root, bundle).holds(expected)


def _settled(root: str, rows: int) -> bool:
    status = read_status(root)
    return status.rows("gold") == rows and status.behind_silver == 0


def wait_for(holds, process, log: Path) -> None:
    """Wait until `holds` returns true while a process runs."""

    def check() -> None:
        assert process.poll() is None and holds(), log.read_text()

    until_passes(check, retry=(AssertionError, LakehouseError, OSError), running=lambda: process.poll() is None, every_s=0.2)


@pytest.mark.lakehouse
def test_kafka_worker_and_spark_agree_on_5_000_events(spark, bundle, tmp_path, monkeypatch):
    from orchestration.layout import Layout
    from orchestration.local.kafka import LocalKafka
    from orchestration.steps.reconciliation import reconcile_predictions
    from serving.lakehouse.reconcile import KINDS
    from serving.streaming.producer import event_bytes
    from serving.warehouse.connect import connect
    from tests.serving.stream_harness import StreamHarness, topics

    with LocalKafka(tmp_path / "kafka") as kafka:
        kafka.create_topics(topics("both"))
        world = StreamHarness(kafka, tmp_path / "var", bundle.directory, "both")
        try:
            world.produce(event_bytes(f"n-{n}", text, f"source-{n % 4}") for n, (text, _) in enumerate(texts(5_000)))
            world.warehouse_server()
            world.worker("one")
            for name, value in world.environment.items():
                monkeypatch.setenv(name, value)
            tables = Tables(spark, str(tmp_path / "lake"), bundle).make()
            tables.once("kafka")
            world.settled()
            with connect(world.var, own=False) as client:
                query = "SELECT id, label, round(confidence, 4), topic, partition, offset FROM predictions FINAL ORDER BY id"
                streamed = client.query(query).result_rows
            # The reconciliation asset compares the same rows.
            monkeypatch.setenv("GROUNDSWELL_LAKEHOUSE__ROOT", tables.root)
            day, now = timedelta(days=1), datetime.now(UTC)
            compared = reconcile_predictions(Layout(world.var), (now - day).isoformat(), (now + day).isoformat())
        finally:
            world.end()
        rows = rows_of(tables.root, "gold", ("id", "label", "confidence", "copy"))
        lake = [(r["id"], r["label"], r["copy"]["origin"], r["copy"]["block"], r["copy"]["line"]) for r in rows]
        assert len(lake) == 5_000
        assert lake == [(identity, label, topic, part, offset) for identity, label, _, topic, part, offset in streamed]
        largest = max(abs(row["confidence"] - one[2]) for row, one in zip(rows, streamed, strict=True))
        assert largest <= 1e-4  # the warehouse stores 32 bits
        assert compared.found.counts == dict.fromkeys(KINDS, 0) | {"agree": 5_000}
    # The broker is down now.
    with pytest.raises(LakehouseError, match=r"(?s)Kafka is not reachable"):
        tables.once("kafka")
    assert tables.counts()["gold"] == 5_000


def test_every_shape_of_a_tweet_is_a_message_or_rejected_with_its_reason(tables, tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_LANGUAGES__OTHER", "reject")
    raw, user, long = tmp_path / "raw", {"id_str": "7"}, "lovely lounge, but " * 10 + "the flight was awful #fail @harbourair"
    at, new = "Wed Oct 10 20:19:24 +0000 2018", {"created_at": "2018-10-10T20:19:24.000Z", "author_id": "7"}
    retweet = {"id": "p2", "text": "RT @a: lovely…", "referenced_tweets": [{"type": "retweeted", "id": "0"}], **new}
    page = [{"id": "p1", "text": "a page", **new}, retweet, {"text": "nothing to call it by"}]
    status = {"id": "m1", "content": "<p>so <b>late</b></p>", "account": {"id": "7"}, "created_at": new["created_at"]}
    post = {"text": "sky", "createdAt": new["created_at"]}
    wrong = {"id": "e2", "text": "of 2099", "created_at": at, "edited_at": "2099-01-01T00:00:00Z"}
    edit = {"id": "12", "text": "edited", **new, "edit_history_tweet_ids": ["11", "12"]}
    first = [
        {"id": 1, "text": "cut…", "created_at": at, "user": user, "truncated": True, "extended_tweet": {"full_text": long}},
        {"id": 2, "text": "RT @a: cut…", "created_at": at, "user": user, "retweeted_status": {"id": 0, "full_text": long}},
        {"data": {"id": "3", "text": "v2", **new}, "matching_rules": [{"id": "1"}]},
        {"data": page, "includes": {"tweets": [{"id": "0", "text": "lo", "note_tweet": {"text": long}}]}, "meta": {}},
        {"tweet": {"id_str": "4", "full_text": "archived", "created_at": at, "source": '<a href="x">Twitter Web App</a>'}},
        {"id": "tag:x,2005:5", "objectType": "activity", "verb": "post", "body": "gnip", "actor": {"id": "id:x:7"}},
        status,
        {"uri": "at://x/app.bsky.feed.post/b1", "author": {"did": "7"}, "record": post},
        '{"id": "6", "text": "half \\ud83d", "score": NaN, "user": {"name": "Al\\udc00"}}',
        '{"id": "7", "text": "half \ud83d"}'.encode("utf-8", "surrogatepass"),
        "  \r",
        "",
        edit,
        {"id": "e1", "text": "love it", "created_at": at, "updated_at": 1_696_969_164_000_000},
        wrong,
        {"delete": {"status": {"id": 99, "user_id": 7}, "timestamp_ms": "1696970000000"}},
        {"limit": {"track": 5}},
        {"id": 1.23456789012345e17, "text": "digits lost"},
        {"id": "t1", "text": "in 55744", "created_at": "55744-01-01T00:00:00Z"},
        {"id": "t2", "text": "in 2300", "created_at": "2300-01-01T00:00:00Z"},
        {"id": "g1", "text": "Der Flug kommt schon wieder zu spät"},
        {"id": "g2", "text": "Der Flug kommt schon wieder zu spät", "lang": "en"},
        "half a rec",
    ]
    put(raw, "1.jsonl", b"\xef\xbb\xbf" + json.dumps({"id": "0", "text": "marked"}).encode(), *first)
    earlier = {"id": "11", "text": "as it was", **new, "edit_history_tweet_ids": ["11", "12"]}
    fixed = {"created_at": at, "edited_at": "2024-06-01T00:00:00Z"}
    put(raw, "2.jsonl", earlier, {"id": "e1", "text": "hate it", **fixed}, {"id": "e2", "text": "awful", **fixed})
    for number in (1, 2):
        os.utime(raw / f"{number}.jsonl", (1_790_000_000 + number, 1_790_000_000 + number))
    tables.files_per_batch = 1
    tables.once(raw)
    gold = {row["id"]: row for row in rows_of(tables.root, "gold", ("id", "text", "user_id", "source", "is_share", "mentions"))}
    assert {name: row["text"] for name, row in gold.items()} == {
        **{"0": "marked", "1": long, "2": long, "3": "v2", "p1": "a page", "p2": long, "4": "archived", "5": "gnip"},
        **{
            "m1": "so late",
            "at://x/app.bsky.feed.post/b1": "sky",
            "6": "half ",
            "7": "half ",
            "12": "edited",
            "g2": "Der Flug kommt schon wieder zu spät",
            "e1": "hate it",
            "e2": "awful",
        },
    }
    assert {name for name, row in gold.items() if row["is_share"]} == {"2", "p2"}
    assert gold["1"]["mentions"] == ["harbourair"] and gold["4"]["source"] == "Twitter Web App" and gold["5"]["user_id"] == "7"
    assert tables.reasons() == {
        **{"superseded": 3, "not json": 1, "no id": 1, "id is a float": 1, "notice: delete": 1, "not a message": 1},
        **{"created_at unreadable": 1, "created_at in the future": 1, "language de": 1},
    }
    status_now = read_status(tables.root)
    assert (status_now.rows("bronze"), status_now.behind_silver, status_now.behind_gold) == (25, 0, 0)
    for layer in LAYERS:
        open_table(tables.root, layer).to_pandas()  # with no time that Python cannot hold


@pytest.mark.parametrize("count", [1_500, pytest.param(20_000, marks=pytest.mark.lakehouse)])
def test_mixed_day_of_every_shape_equals_a_plain_reader_row_by_row(tables, tmp_path, count):
    arrived = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    day = write_day(count, start=arrived - timedelta(hours=24))
    write_files(tmp_path / "raw", day, arrived)
    tables.files_per_batch = FILES // 2
    tables.once(tmp_path / "raw")
    expected = reference(day, is_lakehouse=True)
    for layer in ("silver", "gold"):
        rows = rows_of(tables.root, layer, ("id", "text", "user_id", "is_share"))
        assert Counter((row["id"], row["text"], row["user_id"], row["is_share"]) for row in rows) == expected.rows
    assert Counter(tables.reasons()) == expected.reasons
    status = read_status(tables.root)
    assert (status.rows("bronze"), status.behind_silver, status.behind_gold) == (count, 0, 0)
    (shares,) = sentiment_views.volume(tables.read("gold"), "day").selectExpr("sum(messages)", "sum(shares)").collect()
    assert tuple(shares) == (expected.rows.total(), sum(number for row, number in expected.rows.items() if row[3]))


@pytest.mark.lakehouse
def test_future_or_ancient_date_is_rejected_by_the_time_of_arrival(tables, tmp_path):
    path = put(tmp_path / "raw", "1.json", tweet("1", created_at=4_102_444_800), tweet("2", created_at="1969-12-31T23:59:59Z"))
    os.utime(path, (1_790_000_000, 1_790_000_000))
    tables.once(tmp_path / "raw")
    assert tables.reasons() == {"created_at in the future": 1, "created_at before 1970": 1}
    assert tables.counts()["gold"] == 0


# Deletions


NOTICES = (
    {"delete": {"status": {"id": 2001, "id_str": "2001", "user_id_str": "77"}, "timestamp_ms": "1767265200000"}},
    {"data": {"tweet": {"id": "2003", "author_id": "78"}, "event_at": "2026-01-02T00:00:00Z"}},
    {"user_delete": {"id": 79}, "event_at": "2026-01-02T00:00:00Z"},
    {"scrub_geo": {"user_id_str": "80", "up_to_status_id_str": "9"}},
)


def by(author, identity, text, **more):
    return tweet(identity, text, user={"id_str": author}, **more)


def words(root: str) -> str:
    """All text in all Parquet files of the tables, those of old versions too."""
    import pyarrow.parquet as pq

    files = [path for path in Path(root).rglob("*.parquet") if "_delta_log" not in path.parts]
    return " ".join(str(pq.ParquetFile(path).read().to_pylist()) for path in files)


def test_places_leave_bronze_whether_their_notice_comes_with_the_message_or_before_it(tables, tmp_path):
    from serving.lakehouse.maintain import maintain

    raw, place = tmp_path / "raw", {"place": {"name": "Secretville"}, "coordinates": {"coordinates": [1, 2]}}
    put(
        raw,
        "a",
        by("80", "8", "the seat was bad", **place),
        NOTICES[3],
        by("80", "10", "the newest one", place={"name": "Leeds"}),
    )
    tables.once(raw)
    assert [row["id"] for row in tables.read("bronze").selectExpr("get_json_object(raw, '$.id') AS id").collect()] == ["10"]
    put(raw, "b", by("80", "7", "a late message", **place))
    tables.once(raw)
    maintain(tables.spark, tables.root, tables.lake.settings)
    assert "Secretville" not in words(tables.root) and "Leeds" in words(tables.root)
    assert {row[0] for row in tables.read("gold").select("id").collect()} == {"7", "8", "10"}
    status = read_status(tables.root)
    assert status.behind_silver == 0 and status.behind_gold == 0


def test_deleted_messages_leave_all_layers_and_do_not_come_back(tables, tmp_path):
    from serving.lakehouse.maintain import maintain

    raw = tmp_path / "raw"
    kept = [by("77", "2000", "the flight was great"), by("79", "2010", "a later life", created_at="2026-03-01T10:00:00Z")]
    first = [
        by("77", "2001", "secret one"),
        by("77", "2001", "secret one corrected", edited_at="2026-01-01T11:00:00Z"),
        by("79", "2005", "secret five"),
        by("79", "2006", ""),
        *kept,
    ]
    put(raw, "a", *first)
    tables.once(raw)
    put(raw, "b", *NOTICES)
    tables.once(raw)
    # A late copy, and messages whose notice came first.
    put(raw, "c", by("77", "2001", "secret one"), by("78", "2003", "secret three"), by("79", "2007", "secret seven"))
    tables.once(raw)
    for layer in ("silver", "gold"):
        assert {row[0] for row in tables.read(layer).select("id").collect()} == {"2000", "2010"}
    status = read_status(tables.root)
    assert status.behind_silver == 0 and status.behind_gold == 0
    notices = {"notice: delete": 2, "notice: user_delete": 1, "notice: scrub_geo": 1}
    assert status.reasons == {"forgotten: delete": 4, "forgotten: user_delete": 3, **notices}
    assert tables.read("silver_rejected").where("id IS NOT NULL OR raw IS NOT NULL").isEmpty()

    maintained = maintain(tables.spark, tables.root, tables.lake.settings)
    assert maintained[0].forgotten == 11 and read_status(tables.root).behind_silver == 0
    assert "secret" not in words(tables.root) and "the flight was great" in words(tables.root)
    put(raw, "d", by("77", "2001", "secret one"), by("77", "2002", "the seat was bad"))
    tables.once(raw)  # the streams resume after old versions are gone
    assert {row[0] for row in tables.read("gold").select("id").collect()} == {"2000", "2002", "2010"}
