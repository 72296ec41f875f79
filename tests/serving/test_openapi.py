"""The OpenAPI document that FastAPI generates has the contract of the API: routes, parameters, bodies, statuses, fields."""

import pytest
from jsonschema import Draft202012Validator

from serving.service.docs.openapi import openapi
from serving.service.middleware.admission import OPEN

_BODY = "400 413 415 422"
_QUERY = "since until source label domain sarcastic by every limit"
OPERATIONS = {
    # operation: parameters, body, responses, errors other than those of every route
    "POST /v1/classify": ("Prefer", "ClassifyRequest", "200 ClassifyResponse, 202 JobShown", _BODY),
    "GET /v1/model": ("", "", "200 ModelShown", ""),
    "POST /v1/jobs": ("Idempotency-Key name domain tier", "JobRequest", "202 JobShown", _BODY),
    "GET /v1/jobs/{id}": ("id", "", "200 JobShown", "404"),
    "DELETE /v1/jobs/{id}": ("id", "", "200 JobShown", "404"),
    "GET /v1/results/{id}": ("id", "", "200 application/x-ndjson", "404 409"),
    "POST /v1/feedback": ("", "FeedbackRequest", "201 FeedbackSaved", f"{_BODY} 404"),
    "GET /v1/panels/distribution": (_QUERY, "", "200 Distribution", "422"),
    "GET /v1/panels/trend": (_QUERY, "", "200 Trend", "422"),
    "GET /v1/panels/volume": (_QUERY, "", "200 Volume", "422"),
    "GET /v1/panels/sources": (_QUERY, "", "200 Sources", "422"),
    "GET /v1/panels/messages": (_QUERY, "", "200 Messages", "422"),
    "GET /v1/panels/top_negative": (_QUERY, "", "200 TopNegative", "422"),
    "GET /v1/panels/alerts": (_QUERY, "", "200 Alerts", "422"),
    "GET /v1/panels/versions": (_QUERY, "", "200 Versions", "422"),
    "GET /v1/panels/tiers": (_QUERY, "", "200 TierShares", "422"),
    "GET /v1/panels/latency": (_QUERY, "", "200 Latency", "422"),
    "GET /v1/panels/stream": ("", "", "200 StreamStatus", "422"),
    "GET /v1/panels/history": ("since until", "", "200 StreamHistory", "422"),
    "GET /v1/panels/api": ("since", "", "200 ApiUse", "422"),
    "GET /v1/panels/leaderboard": ("", "", "200 Leaderboard", "422"),
    "GET /v1/panels/production": ("", "", "200 Production", "422"),
    "GET /v1/panels/gate": ("", "", "200 Gate", "422"),
    "GET /v1/panels/transfer": ("", "", "200 Transfer", "422"),
    "GET /v1/panels/evaluated": ("", "", "200 EvaluatedList", "422"),
    "GET /v1/panels/comparison": ("left right", "", "200 Comparison", "404 422"),
    "GET /v1/panels/errors": ("name label predicted", "", "200 Errors", "404 422"),
    "GET /v1/alerts/{id}": ("id", "", "200 AlertShown", "404 422"),
    "POST /v1/alerts/{id}/acknowledge": ("id", "Acknowledgement", "200 AlertShown", f"{_BODY} 404"),
    "POST /v1/alerts/{id}/mute": ("id", "Mute", "200 AlertShown", f"{_BODY} 404"),
    "GET /metrics": ("", "", "200 text/plain", ""),
    "GET /livez": ("", "", "200 text/plain", ""),
    "GET /readyz": ("", "", "200 Readiness", "503"),
}
FIELDS = {
    "Acknowledgement": "by",
    "AlertShown": (
        "id source direction started_at detected_at closed_at z moving_average baseline_mean baseline_std "
        "volume window_s texts revision words usual_volume muted acknowledged_by acknowledged_at muted_until "
        "muted_by"
    ),
    "AlertWord": "word messages share usual_share z",
    "Alerts": "since until every rows",
    "ApiUse": "seconds requests failed rejected texts cached batches texts_per_batch p50 p99 cpu_us_per_text rows",
    "ApiUseRow": "at requests_per_s texts_per_s failed rejected",
    "Bin": "confidence accuracy rows",
    "BucketEdge": "ms beyond",
    "Calibration": "scale offset",
    "Candidate": (
        "name evaluated from_scratch rows macro_recall macro_f1 accuracy ece cpu_us_per_text usd_per_million large_model p99_ms "
        "on_front "
        "in_production slices confusion reliability sarcasm rephrased companies"
    ),
    "ChangedPrediction": "text source label left right right_confidence change",
    "ClassifyRequest": "texts domain detail tier targets",
    "ClassifyResponse": "model_version predictions",
    "Companies": "n correlation pairs order sentences made",
    "Comparison": "left right rows changed corrected broken measures slices examples",
    "Counts": "negative neutral positive messages points",
    "CpuShown": "model flags",
    "Distribution": "since until every rows",
    "EngineMeasured": "version flips mean_gap cpu_us reason",
    "EngineShown": "name version threads chosen reason measured cpu",
    "Errors": "name label predicted rows examples",
    "Evaluated": "name title in_production",
    "EvaluatedList": "missing rows",
    "FeedbackRequest": "text id label by domain",
    "FeedbackSaved": "number",
    "FreeDisk": "free accepts_jobs",
    "Gate": "missing passed bundle unchanged decided_at rules",
    "HistoryRow": "at lag rate arriving workers target cpu rss_bytes dead_letters restarts",
    "Interval": "value low high",
    "JobRequest": "texts domain detail tier",
    "JobShown": "id state total done created_at results",
    "Latency": "since until every rows",
    "LatencyRow": "topic messages p50_s p95_s p99_s newest_s",
    "Leaderboard": "missing rows",
    "LiveFrame": "type at since away cells messages alerts normal",
    "MeasureCompared": "name left right difference",
    "Message": "event_at source label confidence sarcasm domain tier model_version text id topic partition offset",
    "Messages": "since until every rows",
    "ModelCost": "texts cpu_us_per_text cpu_hour_usd usd_per_million_texts",
    "ModelLimits": "texts characters characters_together body_bytes job_texts job_bytes deadline_ms",
    "ModelShown": (
        "name version labels languages max_length quantization data_fingerprint temperature metrics training slices heads "
        "sarcasm targets tiers points alias engine point limits cost"
    ),
    "Move": "at alias from_version to_version bundle reason gate",
    "Mute": "minutes by",
    "NegativeRow": "event_at source confidence text id",
    "Normal": "at mean variance drift threshold",
    "Partition": "partition committed end lag worker stalled",
    "OperatingPoint": "tier threshold escalated macro_recall cpu_us test_macro_recall",
    "Probabilities": "negative neutral positive",
    "Problem": "type title status detail",
    "Process": "name state restarts last_exit cpu rss_bytes",
    "Production": "version card moves mlflow_url dagster_url",
    "Readiness": "ready reasons stores disk",
    "Rule": "rule passed found limit text",
    "Sarcasm": "dataset n sarcastic f1 precision recall",
    "Slice": "names rows macro_recall weak",
    "SliceCompared": "names rows left right",
    "SourceRow": "negative neutral positive messages points source",
    "Sources": "since until every rows",
    "StreamHistory": "since until step_s rows",
    "StreamStatus": (
        "at topic group broker warehouse state detail target reason lag rate arriving drain_s lag_limit "
        "drain_limit_s cores memory_bytes dead_letters open_alerts notices partitions workers others"
    ),
    "TargetScore": "target score mentioned",
    "TextError": "error",
    "TextPrediction": "label confidence tier domain probabilities sarcasm windows targets language warning",
    "Tier": "title temperature heads sarcasm quantization cpu_us metrics",
    "TierRow": "bucket tier messages",
    "TierShares": "since until every rows",
    "TopNegative": "since until every rows",
    "Transfer": "missing candidate epochs learned_rows cells gains",
    "TransferCell": "learned domain n macro_recall",
    "TransferGain": "domain over difference",
    "Trend": "since until every rows",
    "TrendRow": "negative neutral positive messages points bucket source normal_low normal_high",
    "VersionRow": "model_version tier messages first_at last_at",
    "Versions": "since until every rows",
    "Volume": "since until every rows",
    "VolumeRow": "bucket messages",
    "WindowPrediction": "text probabilities",
    "Worker": (
        "name state detail version point partitions messages dead_letters messages_per_s in_flight p50_ms p99_ms "
        "restarts last_exit silent_s cpu rss_bytes"
    ),
    "WrongPrediction": "text source confidence",
}


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def name_of(content):
    """The schema of a content; its type where the schema has no name."""
    ((kind, of),) = content.items()
    return of["schema"].get("$ref", kind).rpartition("/")[2] if "$ref" in of["schema"] else kind


def described(operation):
    parameters = " ".join(parameter["name"] for parameter in operation.get("parameters", ()))
    body = name_of(operation["requestBody"]["content"]) if "requestBody" in operation else ""
    good = [f"{status} {name_of(of['content'])}" for status, of in operation["responses"].items() if status < "400"]
    return parameters, body, ", ".join(good), sorted(status for status in operation["responses"] if status >= "400")


@pytest.mark.parametrize("keys", [False, True])
def test_document_has_the_contract_of_each_operation(keys):
    found = dict(operations(openapi(keys)))
    assert found.keys() == OPERATIONS.keys()
    for name, (parameters, body, good, errors) in OPERATIONS.items():
        always = set() if name.partition(" ")[2] in OPEN else {"403", "500", "503", "504"} | ({"401"} if keys else set())
        limited = {"429"} if keys and name == "POST /v1/classify" else set()
        assert described(found[name]) == (parameters, body, good, sorted({*errors.split()} | always | limited)), name


def test_document_has_the_fields_of_each_schema():
    schemas = openapi()["components"]["schemas"]
    assert {name: " ".join(schema.get("properties", {})) for name, schema in schemas.items()} == FIELDS


def test_each_error_is_a_problem_document():
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for name, operation in operations(openapi(keys=True)):
        for status, response in operation["responses"].items():
            assert status < "400" or response["content"] == problem, (name, status)


def test_each_example_matches_its_schema():
    document = openapi()
    checked = 0
    for schema in document["components"]["schemas"].values():
        for example in schema.get("examples", ()):
            Draft202012Validator({**schema, "components": document["components"]}).validate(example)
            checked += 1
    for _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            for example in parameter["schema"].get("examples", ()):
                Draft202012Validator(parameter["schema"]).validate(example)
                checked += 1
    assert checked >= 10
