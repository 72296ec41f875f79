"""Domains: what kind of texts these are. A model may have a head for each, and `general` for all others."""

from collections.abc import Mapping

from data.errors import SettingsError
from data.names import unknown_name
from data.settings import project_root, read_yaml

DOMAINS = ("tweets", "reviews", "support", "finance", "news")
GENERAL = "general"
"""The head of texts whose domain has none, or is not known."""
FILE = "configs/domains.yaml"


def domains_of_sources() -> Mapping[str, str]:
    """Return the domain of each source that `configs/domains.yaml` names; empty without the file.

    Raises:
        SettingsError: The file is malformed, a domain is unknown, or a source has two.
    """
    file = project_root() / FILE
    found: dict[str, str] = {}
    for domain, sources in (read_yaml(file) if file.is_file() else {}).items():
        if domain not in DOMAINS:
            raise unknown_name(SettingsError, "domain", domain, DOMAINS, where=f" in {FILE}")
        if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
            raise SettingsError(f"The domain {domain!r} in {FILE} has no list of sources.", found=repr(sources))
        for source in sources:
            if found.setdefault(source, domain) != domain:
                raise SettingsError(
                    f"The source {source!r} in {FILE} has two domains.",
                    found=f"{found[source]} and {domain}",
                    remedy="Name it under one of them.",
                )
    return found
