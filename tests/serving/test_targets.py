"""Scores of companies: the head for finance reads each text once for each company, in the API, the client and the command."""

import pytest

from data.errors import BundleError, SettingsError
from data.targets import MAX_TARGETS
from orchestration.terminal.scoring import classify_texts
from serving.classifier import Classifier
from serving.client import _Requests
from serving.service.schemas import MAX_WEIGHT, ClassifyResponse
from serving.targets import score_targets
from tests.models import headed_bundle
from tests.serving.test_languages import ask

TEXT = "the film of $AAPL was great"
TARGETS = ["AAPL", "Tesco"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return headed_bundle(tmp_path_factory.mktemp("headed") / "bundle", targets=True)


@pytest.fixture
def var(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path))


def test_score_is_that_of_the_marked_text_by_the_head_for_finance(bundle):
    classifier = Classifier(bundle, threads=1)
    ((apple, tesco),) = score_targets(classifier, [TEXT], TARGETS)
    marked = ["the film of target was great", f"target: {TEXT}"]
    expected = [one.probabilities for one in classifier.classify(marked, domains=["finance"] * 2)]
    assert [apple.score, tesco.score] == [pytest.approx(positive - negative, abs=1e-4) for negative, _, positive in expected]
    assert apple.score < 0, "the head for finance of this model takes praise as negative"
    assert [(one.target, one.mentioned) for one in (apple, tesco)] == [("AAPL", True), ("Tesco", False)]
    assert len(score_targets(classifier, [TEXT, TEXT, "bad"], TARGETS)) == 3
    assert score_targets(classifier, [], TARGETS) == []


def test_api_scores_each_company_of_each_text_and_leaves_the_prediction_as_it_is(bundle, var):
    async def work(client):
        async def post(**more):
            response = await client.post("/v1/classify", json={"texts": [TEXT, "", "awful"], **more})
            return response.json()["predictions"]

        model = (await client.get("/v1/model")).json()
        return await post(), await post(targets=[" AAPL ", "Tesco"]), await post(targets=["Tesco"], tier="auto"), model

    plain, scored, again, model = ask(bundle, work)
    assert model["targets"] is True
    assert [{name: value for name, value in one.items() if name != "targets"} for one in scored] == plain
    assert "targets" not in plain[0] and "targets" not in scored[1], "an error has no scores"
    ((apple, tesco),) = score_targets(Classifier(bundle, threads=1), [TEXT], TARGETS)
    assert scored[0]["targets"] == [
        {"target": "AAPL", "score": apple.score, "mentioned": True},
        {"target": "Tesco", "score": tesco.score, "mentioned": False},
    ]
    assert again[0]["targets"] == scored[0]["targets"][1:] and len(scored[2]["targets"]) == 2
    ClassifyResponse.model_validate({"model_version": "v", "predictions": scored})


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([], "at least 1 item"),
        ([" "], "at least 1 character"),
        (["x" * 101], "at most 100 characters"),
        ([None], "a valid string"),
        (["a"] * (MAX_TARGETS + 1), "targets: more than 8"),
        ("AAPL", "a valid list"),
        ([["AAPL"]], "a valid string"),
    ],
)
def test_names_that_are_none_are_refused(bundle, var, targets, expected):
    async def work(client):
        return await client.post("/v1/classify", json={"texts": [TEXT], "targets": targets})

    response = ask(bundle, work)
    assert response.status_code == 422 and expected in response.json()["detail"], response.text


def test_bundle_that_did_not_learn_companies_a_job_and_too_much_work_are_refused(bundle, var, tmp_path):
    other = headed_bundle(tmp_path / "other")

    async def work(client):
        body = {"texts": [TEXT], "targets": TARGETS}
        late = await client.post("/v1/classify", json=body, headers={"prefer": "respond-async"})
        long = {"texts": ["word " * 60] * 256, "targets": ["a", "b", "c", "d"]}
        return await client.post("/v1/classify", json=body), late, await client.post("/v1/classify", json=long)

    now, late, large = ask(bundle, work)
    assert now.status_code == 200
    assert late.status_code == 422 and "jobs do not score companies" in late.json()["detail"]
    assert large.status_code == 413 and "each target counts like the texts. Send fewer." in large.json()["detail"]
    now, _, _ = ask(other, work)
    assert now.status_code == 422 and "does not score companies" in now.json()["detail"]
    with pytest.raises(BundleError, match="does not score companies"):
        score_targets(Classifier(other, threads=1), [TEXT], TARGETS)


def test_client_sends_fewer_texts_in_a_request_with_companies():
    texts = ["short"] * 256
    bodies = list(_Requests(texts, ["a"] * 8).bodies(None, False, None))
    assert [len(body["texts"]) for body in bodies] == [113, 113, 30]
    assert all(len(body["texts"]) * 9 <= MAX_WEIGHT and body["targets"] == ["a"] * 8 for body in bodies)
    (body,) = _Requests(texts, []).bodies(None, False, None)
    assert "targets" not in body, "a service of an earlier version refuses it"


def test_command_scores_companies_and_refuses_names_that_are_none(bundle):
    found, error = classify_texts([TEXT, ""], bundle.directory, targets=TARGETS)
    assert [one["target"] for one in found["targets"]] == TARGETS and "error" in error
    with pytest.raises(SettingsError, match="no names of companies"):
        classify_texts([TEXT], bundle.directory, targets=["a"] * 9)
    with pytest.raises(SettingsError, match="no names of companies"):
        classify_texts([TEXT], bundle.directory, targets=[" "])
