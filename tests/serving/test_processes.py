"""A service of two processes is one service: whichever gets a request, the others know of it."""

import re

import httpx
import pytest

from serving.service.middleware.keys import keys_of
from tests.models import tiny_bundle
from tests.serving.running import counters, serving

pytestmark = pytest.mark.integration
CONNECTIONS = 8


def post(url, text, token):
    """Send a request on a connection of its own."""
    return httpx.post(f"{url}/v1/classify", json={"texts": [text]}, headers={"authorization": f"Bearer {token}"}, timeout=60)


def test_two_processes_share_connections_predictions_and_rates(tmp_path):
    with serving(tiny_bundle(tmp_path / "bundle"), tmp_path, processes="2", keys="true", prediction_store="memory") as (
        client,
        _,
    ):
        url, keys = str(client.base_url), keys_of(tmp_path / "var")
        admin, poor = keys.add("admin", ["admin"]), keys.add("poor", rate="5/hour")
        headers = {"authorization": f"Bearer {admin}"}
        held = [httpx.Client(base_url=url, headers=headers, timeout=60) for _ in range(CONNECTIONS)]
        try:
            before = counters(client, headers)
            assert all(one.post("/v1/classify", json={"texts": ["a great film"]}).status_code == 200 for one in held)
            after = counters(client, headers)
            served = re.findall(
                r'requests_total\{process="(.)",route="/v1/classify",status="200"\} (\S+)',
                client.get("/metrics", headers=headers).text,
            )
        finally:
            for one in held:
                one.close()
        assert len(served) == 2 and sum(float(count) for _, count in served) == CONNECTIONS, served
        classified = "groundswell_batch_texts_sum"
        assert after[classified] - before[classified] == 1, "the other process knows the prediction"
        assert client.get("/v1/model", headers=headers).json()["cost"]["texts"] == after[classified]
        codes = [post(url, f"a great film {number}", poor).status_code for number in range(12)]
        assert codes == [200] * 5 + [429] * 7
