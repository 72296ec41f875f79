"""Which domain a source has: configs/domains.yaml."""

import pytest

from data.domains import DOMAINS, domains_of_sources
from data.errors import SettingsError


@pytest.fixture
def write(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    monkeypatch.setattr("data.domains.project_root", lambda: tmp_path)
    return (tmp_path / "configs" / "domains.yaml").write_text


def test_sources_named_as_a_domain_have_it():
    assert domains_of_sources() == {domain: domain for domain in DOMAINS}


def test_a_source_has_the_domain_under_which_it_is_named_and_without_the_file_none_has_one(write):
    assert domains_of_sources() == {}
    write("finance: [stocks, '42', ' Bot ']\nnews: []\nsupport: [desk, desk]\n")
    assert domains_of_sources() == {"stocks": "finance", "42": "finance", " Bot ": "finance", "desk": "support"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("finanze: [stocks]", "Unknown domain 'finanze' in configs/domains.yaml.*finance"),
        ("general: [stocks]", "Unknown domain 'general'"),
        ("finance: [x]\nnews: [y, x]", "'x' in configs/domains.yaml has two domains.*finance and news"),
        ("finance: stocks", "'finance' in configs/domains.yaml has no list of sources"),
        ("finance: [42]", "has no list of sources"),
        ("finance:", "has no list of sources"),
    ],
)
def test_a_file_that_is_wrong_is_refused(write, text, message):
    write(text)
    with pytest.raises(SettingsError, match=f"(?s){message}"):
        domains_of_sources()
