"""The Lambda functions under AWS's runtime client, on DynamoDB Local and ElasticMQ; the template against its schemas."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serving.service.jobs.queue import MAX_ATTEMPTS
from serving.settings import ServingSettings
from tests import filings
from tests.components.java import DynamoDB, ElasticMQ, aws, environment
from tests.components.lambda_runtime import Function
from tests.models import tiny_bundle
from tests.serving.running import ROOT

TEMPLATE = ROOT / "serving" / "aws" / "template.yaml"


def gateway(method: str, path: str, body=None, *, key: str = "k1", headers=None) -> dict:
    """Make API Gateway's proxy event, in the form that AWS documents for REST APIs."""
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "queryStringParameters": None,
        "headers": {"Content-Type": "application/json", **(headers or {})},
        "multiValueHeaders": None,
        "pathParameters": None,
        "requestContext": {"stage": "v1-stage", "identity": {"apiKeyId": key, "sourceIp": "203.0.113.7"}, "httpMethod": method},
        "body": body if isinstance(body, str) or body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


def messages(queue: str, client) -> list[dict]:
    """Receive messages in the form in which SQS passes them to the function."""
    received = client.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, AttributeNames=["ApproximateReceiveCount"], VisibilityTimeout=0
    ).get("Messages", [])
    return [
        {
            "messageId": one["MessageId"],
            "receiptHandle": one["ReceiptHandle"],
            "body": one["Body"],
            "attributes": one["Attributes"],
        }
        for one in received
    ]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cloud")
    dynamodb, elasticmq = DynamoDB(folder), ElasticMQ(folder)
    dynamodb.table("groundswell")
    queue, _ = elasticmq.queue("parts")
    bundle = tiny_bundle(folder / "bundle")
    surroundings = environment(dynamodb, elasticmq) | {
        "GROUNDSWELL_BUNDLE_DIR": str(bundle.directory),
        "GROUNDSWELL_SERVING__PREDICTION_STORE": "dynamodb",
        "GROUNDSWELL_SERVING__JOBS": "sqs",
        "GROUNDSWELL_SERVING__SQS_QUEUE_URL": queue,
    }
    yield folder, surroundings, queue, aws("sqs", elasticmq.url)
    dynamodb.stop()
    elasticmq.stop()


@pytest.fixture(scope="module")
def api(cloud):
    folder, surroundings, *_ = cloud
    function = Function("serving.aws.handlers.api", folder, surroundings)
    yield function
    function.stop()


@pytest.fixture(scope="module")
def jobs_function(cloud):
    folder, surroundings, *_ = cloud
    function = Function("serving.aws.handlers.jobs", folder, surroundings)
    yield function
    function.stop()


@pytest.mark.integration
class TestFunctions:
    def test_request_gets_the_response_of_the_service(self, api):
        texts = ["a great film", "\u200b", "an awful soup"]
        response = api.invoke(gateway("POST", "/v1/classify", {"texts": texts, "detail": True}))
        assert (response["statusCode"], response["isBase64Encoded"]) == (200, False)
        first, blank, last = json.loads(response["body"])["predictions"]
        assert (first["label"], blank, last["label"]) == ("positive", {"error": "is blank"}, "negative")
        assert response["headers"]["x-request-id"]
        again = api.invoke(gateway("POST", "/v1/classify", {"texts": ["a great film"]}))
        assert json.loads(again["body"])["predictions"][0]["label"] == "positive"

    @pytest.mark.parametrize(
        ("event", "status"),
        [
            (gateway("POST", "/v1/classify", "not json"), 400),
            (gateway("POST", "/v1/classify", {"texts": []}), 422),
            (gateway("POST", "/v1/classify", None), 400),
            (gateway("GET", "/v1/classify"), 405),
            (gateway("GET", "/v1/none"), 404),
            (gateway("GET", "/v1/jobs/none"), 404),
        ],
    )
    def test_invalid_request_gets_problem_details(self, event, status, api):
        response = api.invoke(event)
        assert (response["statusCode"], json.loads(response["body"])["status"]) == (status, status)
        assert response["headers"]["content-type"] == "application/problem+json" and not response["isBase64Encoded"]

    def test_feedback_is_refused_without_a_writable_disk(self, cloud, api):
        folder = cloud[0]
        (folder / "var" / "labels").write_text("a file in place of the folder, as on a read-only disk")
        feedback = {"text": "a great film", "label": "positive", "by": "ann"}
        assert api.invoke(gateway("POST", "/v1/feedback", feedback))["statusCode"] == 503

    def test_job_is_classified_by_the_other_function_through_the_queue(self, cloud, api, jobs_function):
        _, _, queue, sqs = cloud
        texts = ["a great film", "an awful soup"] * 100
        made = api.invoke(gateway("POST", "/v1/jobs", {"texts": texts}))
        assert made["statusCode"] == 202
        path = made["headers"]["location"]
        records = messages(queue, sqs)
        assert len(records) == 4
        poison = {"messageId": "poison", "body": "not ours", "attributes": {"ApproximateReceiveCount": "1"}}
        failed = jobs_function.invoke({"Records": [records[0], poison, *records[1:], records[0]]})
        assert failed == {"batchItemFailures": [{"itemIdentifier": "poison"}]}, "one record is a duplicate, one is not a part"
        job = json.loads(api.invoke(gateway("GET", path))["body"])
        assert (job["state"], job["done"]) == ("done", 200)
        lines = api.invoke(gateway("GET", job["results"]))["body"].splitlines()
        assert [json.loads(line)["label"] for line in lines] == ["positive", "negative"] * 100
        assert api.invoke(gateway("GET", path, key="k2"))["statusCode"] == 404, "it belongs to the other key"

    def test_document_is_read_by_one_function_and_classified_by_the_other(self, cloud, api, jobs_function):
        _, _, queue, sqs = cloud
        page = {"Content-Type": "text/html"}
        made = api.invoke(gateway("POST", "/v1/jobs", filings.annual_report(sentences=40), headers=page))
        assert made["statusCode"] == 202, made["body"]
        job = json.loads(made["body"])
        records = [one for one in messages(queue, sqs) if json.loads(one["body"])["job"] == job["id"]]
        assert jobs_function.invoke({"Records": records}) == {"batchItemFailures": []}
        result = json.loads(api.invoke(gateway("GET", job["results"]))["body"])
        assert (result["form"], result["windows"], result["failed_windows"]) == ("10-K", job["total"], 0)
        labels = {section["title"].partition(".")[0]: section["label"] for section in result["sections"]}
        assert (labels["Item 1A"], labels["Item 7"]) == ("negative", "positive")
        refused = api.invoke(gateway("POST", "/v1/jobs", "%PDF-1.7", headers=page))
        assert refused["statusCode"] == 422 and "a PDF" in refused["body"]

    def test_part_delivered_too_often_gets_errors_and_its_job_ends(self, cloud, api, jobs_function):
        _, _, queue, sqs = cloud
        path = api.invoke(gateway("POST", "/v1/jobs", {"texts": ["a great film"]}))["headers"]["location"]
        job = path.rsplit("/", 1)[1]
        record = next(one for one in messages(queue, sqs) if json.loads(one["body"])["job"] == job)
        record["attributes"] = {"ApproximateReceiveCount": str(MAX_ATTEMPTS + 1)}
        assert jobs_function.invoke({"Records": [record]}) == {"batchItemFailures": []}
        assert "failed" in json.loads(api.invoke(gateway("GET", f"/v1/results/{job}"))["body"])["error"]

    def test_log_has_no_text_and_no_key(self, api):
        log = api.log.read_text()
        assert "great film" not in log and '"route": "/v1/classify"' in log


@pytest.mark.integration
def test_functions_import_neither_torch_nor_bentoml():
    program = (
        "import sys, serving.aws.handlers; print([n for n in ('torch', 'bentoml', 'pyarrow', 'pandas') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    assert found.stdout.strip() == "[]"


def test_template_is_valid_for_cloudformation_and_sam():
    linter = Path(sys.executable).parent / "cfn-lint"
    found = subprocess.run([linter, TEMPLATE], capture_output=True, text=True, timeout=600, check=False)
    assert found.returncode == 0, found.stdout


class _Loader(yaml.SafeLoader):
    """CloudFormation's short forms, as `[name, value]`."""


_Loader.add_multi_constructor(
    "!",
    lambda loader, name, node: [
        name,
        loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else loader.construct_sequence(node, deep=True),
    ],
)


def test_template_matches_the_code():
    template = yaml.load(TEMPLATE.read_text(), _Loader)
    resources = template["Resources"]
    for name in template["Globals"]["Function"]["Environment"]["Variables"]:
        assert name.removeprefix("GROUNDSWELL_SERVING__").lower() in ServingSettings.model_fields
    assert resources["Parts"]["Properties"]["RedrivePolicy"]["maxReceiveCount"] > MAX_ATTEMPTS
    table = resources["Table"]["Properties"]
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    from serving.aws import handlers

    for function in ("ApiFunction", "JobsFunction"):
        module, _, name = resources[function]["Properties"]["ImageConfig"]["Command"][0].rpartition(".")
        assert module == handlers.__name__ and callable(getattr(handlers, name))
        for statement in resources[function]["Properties"]["Policies"][0]["Statement"]:
            assert "*" not in str(statement["Action"]) and "*" not in str(statement["Resource"])


@pytest.mark.integration
def test_cold_start_handles_a_request(cloud):
    """Its duration is measured by `make bench-api`."""
    folder, surroundings, *_ = cloud
    function = Function("serving.aws.handlers.api", folder, surroundings)
    try:
        found = function.invoke(gateway("POST", "/v1/classify", {"texts": ["a great film"]}))
        assert found["statusCode"] == 200
    finally:
        function.stop()
