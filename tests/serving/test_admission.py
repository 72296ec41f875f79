"""API keys, scopes and rates: the key file, and the real service with keys on."""

import stat
from contextlib import nullcontext

import httpx
import pytest

from data.errors import SettingsError
from serving.service.middleware.admission import Authenticator, require_keys
from serving.service.middleware.keys import Keys, id_of, keys_of
from serving.service.problems import Refused
from tests.models import tiny_bundle
from tests.serving.running import serving

TEXT = {"texts": ["a great film"]}


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def test_key_is_stored_as_a_hash_in_a_private_file(tmp_path):
    keys = Keys(tmp_path / "keys.db")
    token = keys.add("desk", ["classify", "feedback"])
    found = keys.find(token)
    assert found is not None and found.name == "desk" and found.id == id_of(token)
    assert found.may("classify") and found.may("feedback") and not found.may("admin")
    path = tmp_path / "keys.db"
    secret = token.split("_", 2)[2]  # may hold a "_" of its own
    assert len(secret) == 32 and secret.encode() not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token not in repr(keys.list())


@pytest.mark.parametrize("shown", ["", "gs_", "x" * 10_000, "gs_00000000_" + "a" * 32, "gs_\x00", "' OR 1=1 --"])
def test_invalid_token_matches_no_key(shown, tmp_path):
    keys = Keys(tmp_path / "keys.db")
    keys.add("desk")
    assert keys.find(shown) is None


def test_revoked_key_is_unknown_at_once_in_every_process(tmp_path):
    here, there = Keys(tmp_path / "keys.db"), Keys(tmp_path / "keys.db")
    token = here.add("desk")
    assert there.find(token) is not None
    here.revoke(id_of(token))
    assert there.find(token) is None
    assert [key.revoked_at is not None for key in here.list()] == [True]
    with pytest.raises(SettingsError, match=r"Active API key .* not found"):
        here.revoke(id_of(token))


@pytest.mark.parametrize(("scopes", "rate", "message"), [(["clasify"], "5/minute", "classify"), (["classify"], "fast", "rate")])
def test_unknown_scopes_and_rates_are_refused(scopes, rate, message, tmp_path):
    with pytest.raises(SettingsError) as caught:
        Keys(tmp_path / "keys.db").add("desk", scopes, rate)
    assert message in f"{caught.value.message} {caught.value.remedy}"
    assert Keys(tmp_path / "keys.db").list() == []


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A service with keys on, and the keys."""
    folder = tmp_path_factory.mktemp("guarded")
    with serving(tiny_bundle(folder / "bundle"), folder, keys="true") as (client, _):
        yield client, keys_of(folder / "var")


@pytest.mark.integration
@pytest.mark.parametrize(
    "path",
    ["/v1/model", "/metrics", "/docs", "/openapi.json", "/schema.json", "/v1/panels/trend", "/v1/nothing", "/" + "a" * 300],
)
def test_every_route_needs_a_key(path, guarded):
    client, _ = guarded
    for headers in ({}, bearer("gs_00000000_" + "a" * 32), {"authorization": "Basic eDp5"}):
        response = client.get(path, headers=headers)
        assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"
        assert "groundswell keys add" in response.json()["detail"]
    assert client.post("/v1/classify", json=TEXT).status_code == 401
    assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
    assert client.get("/").status_code != 401, "the dashboard's page has no data, and has the form for the key"


@pytest.mark.integration
def test_key_opens_the_routes_of_its_scopes(guarded):
    client, keys = guarded
    classify, feedback, admin = (keys.add(name, [name]) for name in ("classify", "feedback", "admin"))
    assert client.post("/v1/classify", json=TEXT, headers=bearer(classify)).status_code == 200
    refused = client.post("/v1/classify", json=TEXT, headers=bearer(feedback))
    assert refused.status_code == 403 and "classify" in refused.json()["detail"] and feedback not in refused.text
    assert client.get("/metrics", headers=bearer(classify)).status_code == 403
    assert client.get("/metrics", headers=bearer(admin)).status_code == 200
    assert client.get("/docs", headers=bearer(feedback)).status_code == 200


@pytest.mark.integration
def test_a_revoked_key_is_refused_at_once(guarded):
    client, keys = guarded
    token = keys.add("leaver")
    assert client.post("/v1/classify", json=TEXT, headers=bearer(token)).status_code == 200
    keys.revoke(id_of(token))
    assert client.post("/v1/classify", json=TEXT, headers=bearer(token)).status_code == 401


@pytest.mark.integration
def test_each_key_has_its_own_rate_in_texts(guarded):
    client, keys = guarded
    poor, rich = keys.add("poor", rate="5/hour"), keys.add("rich", rate="500/hour")
    three = {"texts": ["a", "b", "c"]}
    first = client.post("/v1/classify", json=three, headers=bearer(poor))
    assert first.status_code == 200
    assert (first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]) == ("5", "2")
    second = client.post("/v1/classify", json=three, headers=bearer(poor))
    assert second.status_code == 429 and 0 < int(second.headers["retry-after"]) <= 3600
    assert second.headers["content-type"] == "application/problem+json"
    assert client.post("/v1/classify", json={"texts": ["a", "b"]}, headers=bearer(poor)).status_code == 200, "two are left"
    assert client.post("/v1/classify", json=three, headers=bearer(rich)).status_code == 200
    seen = client.get("/metrics", headers=bearer(keys.add("watcher", ["admin"]))).text
    assert 'groundswell_shed_total{cause="rate"' in seen and poor not in seen


@pytest.mark.parametrize(
    ("client", "admitted"),
    [
        (("127.0.0.1", 5), True),
        (("127.9.9.9", 5), True),
        (("::1", 5), True),
        (None, True),
        (("10.0.0.1", 5), False),
        (("2001:db8::1", 5), False),
        (("somewhere", 5), False),
    ],
)
def test_without_keys_callers_of_other_machines_are_refused(client, admitted):
    scope = {"type": "http", "path": "/v1/classify", "headers": [], "client": client}
    if admitted:
        assert Authenticator(None).admit(scope) is None
    else:
        with pytest.raises(Refused, match="own machine"):
            Authenticator(None).admit(scope)


@pytest.mark.parametrize(
    ("addresses", "refused"),
    [([], False), (["127.0.0.1", "::1", "127.1.2.3"], False), (["127.0.0.1", "0.0.0.0"], True), (["::"], True)],
)
def test_without_keys_only_loopback_addresses_are_allowed(addresses, refused):
    require_keys(True, addresses)
    with pytest.raises(SettingsError, match="API keys are off") if refused else nullcontext():
        require_keys(False, addresses)


@pytest.mark.integration
def test_service_without_keys_exits_with_an_error_on_an_open_address(tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle")
    with pytest.raises(httpx.HTTPError), serving(bundle, tmp_path, host="0.0.0.0"):
        pass
    assert "API keys are off, so the service must listen on its own machine only." in (tmp_path / "log").read_text()
    with serving(bundle, tmp_path, host="0.0.0.0", keys="true") as (client, _):
        assert client.post("/v1/classify", json=TEXT).status_code == 401
