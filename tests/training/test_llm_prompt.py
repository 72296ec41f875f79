import pandas as pd
import pytest

from data.errors import SettingsError
from data.labels import LABELS
from tests.make import labeled
from training.candidates import large_model, load_candidates, trainable
from training.llm_prompt import EXAMPLES_PER_LABEL, Prompt, few_shot, read_label

ENTRY = {"kind": "llm", "title": "L", "license": "x", "on_request": True}


@pytest.mark.parametrize(
    "content",
    [
        "positive",
        " Positive\n",
        "POSITIVE.",
        '"positive"',
        "**positive**",
        "Label: positive",
        "sentiment:\tPositive!",
        '{"label": "positive"}',
        '{"Sentiment": "Positive", "confidence": 0.9}',
        '```json\n{"label": "positive"}\n```',
        "```\npositive\n```",
    ],
)
def test_one_word_or_json_has_a_label(content):
    assert read_label(content) == "positive"


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "The sentiment of this text is positive.",
        "positive or neutral",
        "not negative",
        "I'm sorry, but I can't help with that.",
        "mixed",
        "1",
        "[1, 2]",
        '["positive"]',
        "null",
        '{"label": "joy"}',
        '{"label": "positive", "sentiment": "negative"}',
        '{"label": ["positive"]}',
        '{"label": "posit',
        "positiv",
        "\ufffd\x00",
    ],
)
def test_prose_refusal_and_nonsense_have_none(content):
    assert read_label(content) is None


def test_few_shot_examples_are_short_training_texts_in_turns_whatever_the_order_of_rows():
    rows = labeled(40)
    long = rows.assign(text=rows["text"] + " and" * 100)
    prompt = few_shot(pd.concat([long, rows]))
    assert [label for _, label in prompt.examples] == list(LABELS) * EXAMPLES_PER_LABEL
    assert all(len(text) <= 200 for text, _ in prompt.examples) and len({text for text, _ in prompt.examples}) == 9
    assert few_shot(rows.sample(frac=1, random_state=3)) == prompt
    roles = [message["role"] for message in prompt.messages("mine")]
    assert roles == ["system", *["user", "assistant"] * 9, "user"]
    assert prompt.digest != Prompt().digest == Prompt().digest
    assert prompt.messages("mine")[-1]["content"] == "mine" != prompt.messages("mine", again=True)[-1]["content"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"llm": {"model": "m", "base_urll": "http://x"}}, "base_urll"),
        ({"llm": {"model": "m", "base_url": "ftp://x"}}, "an http or https address"),
        ({"llm": {"model": "m", "base_url": "https://me:secret@x/v1"}}, "without user, password"),
        ({"llm": {"model": "m", "api_key": "a secret"}}, "an unknown key"),
        ({"llm": {"model": "m", "budget_usd": 1}}, "budget_usd only with"),
        ({"llm": {"model": "m", "usd_per_million_input": 1}}, "together, or neither"),
        ({"llm": {"model": "m", "prompt": "many-shot"}}, "zero-shot"),
        ({"llm": {"model": "m", "concurrency": 0}}, "greater than or equal to 1"),
        ({}, "the key llm with the kind llm"),
        ({"kind": "transformer", "llm": {"model": "m"}}, "the key llm with the kind llm"),
        ({"llm": {"model": "m"}, "on_request": False}, "on_request: true"),
    ],
)
def test_malformed_entry_is_refused(fields, message):
    with pytest.raises(SettingsError, match="large") as caught:
        load_candidates({"large": ENTRY | fields})
    assert message in str(caught.value) and "secret" not in str(caught.value)


def test_large_model_is_never_trained_or_exported_and_leaves_keys_of_others_as_they_are():
    found = load_candidates()["gpt-zero-shot"]
    assert found.on_request and not found.exportable and not found.is_trained_here
    assert "llm" not in load_candidates()["minilm"].model_dump(mode="json")


def test_training_a_large_model_is_refused_with_the_command_that_evaluates_it():
    with pytest.raises(SettingsError, match="never trained") as caught:
        trainable("gpt-zero-shot")
    assert caught.value.remedy == "Run `groundswell benchmark --candidate gpt-zero-shot`."


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("gpt-zero-shots", "Did you mean 'gpt-zero-shot'"),
        ("minilm", "`groundswell train --candidate minilm`, then `groundswell benchmark`"),
        ("vader", "Run `groundswell benchmark`"),
    ],
)
def test_candidate_that_is_no_large_model_is_refused_with_the_remedy(name, remedy):
    with pytest.raises(SettingsError) as caught:
        large_model(name)
    assert remedy in caught.value.remedy
