"""Twenty promotions and rollbacks while the service is fully busy: no request is refused or cut."""

import time

import pytest

from serving.deployment import stop
from tests.models import tiny_bundle
from tests.serving.deploying import Callers, put
from tests.serving.running import spare_port
from tests.waiting import until

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("count", [8, 64])
def test_ten_promotions_under_load_refuse_nothing(tmp_path, count):
    place = (tmp_path, tmp_path / "var" / "deployment", spare_port())
    bundles = [tiny_bundle(tmp_path / f"b{strength}", strength=strength) for strength in (2.0, 3.0)]
    try:
        with Callers(put(place, bundles[0]).url, count) as callers:
            for number in range(1, 11):
                before, started = callers.requests, time.monotonic()
                bundle = bundles[number % 2]
                put(place, bundle)
                callers.forget()
                until(lambda version=bundle.manifest.version: callers.all_have_seen(version))
                seconds = time.monotonic() - started
                print(f"{count} callers, promotion {number}: {seconds:.1f} s, {callers.requests - before:,} requests")
        print(f"{count} callers: {callers.requests:,} requests, {len(callers.failures)} failed")
        assert not callers.failures, callers.failures[:3]
    finally:
        stop(place[1])
