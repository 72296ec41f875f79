"""Stored jobs are limited by free disk space and free it at once; a full disk does not stop classification."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from serving.service.disk import Disk, NoSpace
from serving.service.jobs.queue import texts_from, texts_to
from serving.service.jobs.sqlite import SQLiteJobs
from tests.models import tiny_bundle
from tests.serving.running import ROOT, serving

MIB = 2**20


def test_free_space_is_that_of_the_disk_of_the_nearest_existing_folder(tmp_path):
    folders = []

    def usage(folder):
        folders.append(folder)
        return 2000, 905, 95  # half of it is reserved for the system: `df` leaves that out, and so do we

    disk = Disk(tmp_path / "not" / "there" / "yet", 0.1, usage)
    assert disk.free_share() == 0.095 and set(folders) == {tmp_path} and not disk.has_space()
    with pytest.raises(NoSpace, match=r"10% is free.*need 10%.*Free disk space"):
        disk.require_space()
    Disk(tmp_path, 0.09, usage).require_space()


def test_unknown_free_space_refuses_nothing(tmp_path):
    def usage(_):
        raise OSError

    disk = Disk(tmp_path, 0.1, usage)
    assert disk.free_share() is None
    disk.require_space()


def stored(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


def test_cancelled_jobs_free_their_space_at_once(tmp_path):
    texts = ["x" * 99_000 for _ in range(80)]

    async def go():
        jobs = SQLiteJobs(tmp_path / "jobs.db")
        sizes = []
        for _ in range(5):
            job = await jobs.add("me", texts)
            part = await jobs.claim()
            await jobs.cancel(job.id)
            await jobs.finish(part, [{"label": "positive"}] * len(part.texts))  # it was being classified
            assert await jobs.claim() is None and await jobs.waiting() == 0
            assert (await jobs.get(job.id, "me")).state == "cancelled" and await jobs.text(f"{job.id}-0", None) is None
            sizes.append(stored(tmp_path))
        await jobs.close()
        return sizes

    assert max(asyncio.run(go())) < MIB / 4, "of 40 MiB that were accepted"


def test_expired_jobs_free_their_space_with_the_next_job(tmp_path, monkeypatch):
    async def go():
        jobs = SQLiteJobs(tmp_path / "jobs.db")
        await jobs.add("me", ["x" * 99_000] * 80)
        monkeypatch.setattr("serving.service.jobs.sqlite.KEEP_S", -1)
        await jobs.add("me", ["a"])
        size = stored(tmp_path)
        await jobs.close()
        return size

    assert asyncio.run(go()) < MIB / 4


def test_file_of_an_older_version_is_converted_and_shrinks(tmp_path):
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        database.executescript("PRAGMA journal_mode = WAL; CREATE TABLE before (a BLOB);")
        database.execute("INSERT INTO before VALUES (zeroblob(8000000))")
        database.execute("DELETE FROM before")
    database.close()

    async def go():
        jobs = SQLiteJobs(tmp_path / "jobs.db")
        await jobs.cancel((await jobs.add("me", ["x" * 99_000] * 80)).id)
        size = stored(tmp_path)
        await jobs.close()
        return size

    assert asyncio.run(go()) < MIB / 4


def test_texts_are_stored_in_utf_8_and_older_ones_are_still_read():
    texts = ["é" * 10, "😀", None, 'a "quote"', "\ud83d"]
    assert texts_from(texts_to(texts)) == texts and texts_from(json.dumps(texts)) == texts
    assert len(texts_to(["字" * 1000])) == 3004, "three bytes a character, not six"


def test_job_is_refused_when_the_disk_is_nearly_full(tmp_path):
    free = [50]

    async def go():
        jobs = SQLiteJobs(tmp_path / "jobs.db", disk=Disk(tmp_path, 0.1, lambda _: (100, 100 - free[0], free[0])))
        await jobs.add("me", ["a"])
        free[0] = 9
        with pytest.raises(NoSpace):
            await jobs.add("me", ["b"])
        assert await jobs.waiting() == 1, "accepted jobs continue"
        await jobs.close()

    asyncio.run(go())


@contextmanager
def small_disk(folder):
    """Mount a disk of 64 MiB at the folder."""
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=False).returncode:
        pytest.skip("this user cannot mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder):
    with (folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(b"x" * 4096)


@pytest.mark.integration
def test_full_disk_refuses_jobs_and_feedback_but_classifies_and_restarts(tmp_path):
    bundle, body = tiny_bundle(tmp_path / "bundle"), {"texts": ["a great film"]}
    feedback = {"text": "a great film", "label": "negative", "by": "ann"}
    with small_disk(tmp_path / "disk") as folder:
        with serving(bundle, folder, min_free_disk="0.1") as (client, process):
            assert client.post("/v1/jobs", json=body).status_code == 202
            assert client.post("/v1/feedback", json=feedback).status_code == 201
            fill(folder)
            for route, sent in (("/v1/jobs", body), ("/v1/feedback", feedback)):
                refused = client.post(route, json=sent)
                assert (refused.status_code, refused.json()["title"]) == (503, "Not enough disk space")
                assert int(refused.headers["retry-after"]) > 0 and "Free disk space" in refused.json()["detail"]
            for text in ("an awful soup", "the number", "unheard of"):  # labels that were never counted before
                assert client.post("/v1/classify", json={"texts": [text], "domain": "support"}).status_code == 200
            assert client.get("/nowhere").status_code == 404 and client.get("/metrics").status_code == 200
            ready = client.get("/readyz").json()
            assert ready["ready"] and ready["disk"] == {"free": 0.0, "accepts_jobs": False}
            process.send_signal(signal.SIGTERM)
            process.wait(100)
        with serving(bundle, folder, min_free_disk="0.1") as (client, _):
            assert client.post("/v1/classify", json={"texts": ["a great soup"]}).status_code == 200
            (folder / "filler").unlink()
            assert client.post("/v1/jobs", json=body).status_code == 202, "jobs are accepted again"


def test_metrics_stay_in_memory_even_if_bentoml_sets_a_folder(tmp_path):
    program = (
        "import serving.service.metrics as m; m.SHED.labels(cause='x').inc(); "
        "from serving.service.service import Sentiment; from prometheus_client import generate_latest; "
        "print(b'groundswell_shed_total{cause=\"x\"} 1.0' in generate_latest())"
    )
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
    (tmp_path / "metrics").mkdir()
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=600
    )
    assert found.stdout.strip().endswith("True") and list((tmp_path / "metrics").iterdir()) == []
