"""The demo's calls to the API."""

import pytest

from orchestration.demo.api import _job
from serving.client import SentimentClient
from tests.models import tiny_bundle
from tests.serving.running import serving


@pytest.mark.integration
def test_demo_shows_why_it_has_no_job_on_a_disk_that_is_nearly_full(tmp_path):
    with serving(tiny_bundle(tmp_path / "b"), tmp_path, min_free_disk="1") as (client, _):
        assert _job(str(client.base_url), ["a great film"]).startswith("no job: Disk nearly full")
        with SentimentClient(str(client.base_url)) as ours:
            assert ours.classify(["a great film"]), "all else works"
