"""Texts of the API's documentation: the introduction, the groups, and the panels."""

from serving.service.schemas import MAX_DOCUMENT_CHARS, MAX_TEXTS, MAX_WEIGHT, WEIGHT_CHARS

ABOUT = f"""\
Groundswell classifies the sentiment of short texts: negative, neutral or positive. Send texts to `POST /v1/classify` and read one
prediction per text, in their order.

A text may have {MAX_DOCUMENT_CHARS:,} characters; one that is longer than the model reads is classified by windows, and `detail`
shows them. A text that cannot be classified (blank, too long, not a string) gets an error in its place; the others are
classified.

At most {MAX_TEXTS} texts with {MAX_WEIGHT * WEIGHT_CHARS:,} characters together are classified at once. More are a job:
`POST /v1/jobs`, then `GET /v1/jobs/{{id}}` until its state is `done`, then `GET /v1/results/{{id}}`.

Errors are problem details (RFC 9457). The `type` links to the catalog below, the `detail` states what was found and what to do.
Retry a response with `Retry-After`. Every response has an `X-Request-Id`, which is in the log too.

`WS /v1/live` sends the dashboard's changes, as `LiveFrame`: a snapshot first, then what changed, at most ten times a second.
"""
KEYS = """\
API keys are on: send `Authorization: Bearer <key>` with every request. Make a key with `groundswell keys add NAME --scope
classify`; its scopes open routes, its rate limits texts. `RateLimit-*` headers have what is left of the rate.
"""
TAGS = {
    "Classification": "Predictions now.",
    "Jobs": "Predictions later, for many texts. Jobs and results are kept for a day.",
    "Feedback": "Corrections, for the next training run.",
    "Model": "The model that is served.",
    "Panels": "What the dashboard shows, as JSON: messages from the stream, the stream itself, the service, and models.",
    "Alerts": "What a person does about an alert: read it, acknowledge it, mute its source.",
    "Operations": "For monitoring and probes.",
}
