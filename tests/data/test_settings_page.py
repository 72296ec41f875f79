"""docs/settings.md is what the code gives."""

import pytest

from data.settings_page import PAGE, settings_page
from data.settings_registry import settings_classes


def test_page_is_the_one_of_the_code():
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "docs/settings.md is out of date; run `make settings-page`"


def test_page_does_not_depend_on_the_environment(monkeypatch):
    expected = settings_page()
    monkeypatch.setenv("GROUNDSWELL_PROFILE", "production")
    monkeypatch.setenv("GROUNDSWELL_SERVING__PORT", "4000")
    assert settings_page() == expected


@pytest.mark.parametrize("settings", settings_classes(), ids=lambda one: one.section)
def test_each_field_has_one_row(settings):
    section = settings_page().split(f"## `GROUNDSWELL_{settings.section.upper()}__…`")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [name.upper() for name in settings.model_fields]


def test_row_has_default_profile_values_and_meaning():
    page = settings_page()
    assert "| `KEYS` | `false` (production `true`) | `true` or `false` | Whether each request needs an API key." in page
    assert "| `PREDICTION_STORE` | `sqlite` | `memory`, `sqlite`, `redis`, `dynamodb` | Where predictions are cached" in page
    assert "| `REDIS_URL` | none | secret |" in page
    assert "| `MAX_BATCH_TEXTS` | `32` | integer from 1 to 1024 |" in page
