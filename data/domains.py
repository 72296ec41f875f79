"""Domains: what kind of texts these are. A model may have a head for each, and `general` for all others."""

from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import TypeAdapter, ValidationError

from data.errors import SettingsError
from data.names import unknown_name
from data.settings import project_root, read_yaml

Domain = Literal["tweets", "reviews", "support", "finance", "news"]
DOMAINS: tuple[Domain, ...] = get_args(Domain)
GENERAL = "general"
"""The head of texts whose domain has none, or is not known."""
FILE = "configs/domains.yaml"
_SOURCES = TypeAdapter(list[str])


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
        try:
            names = _SOURCES.validate_python(sources, strict=True)
        except ValidationError:
            raise SettingsError(f"The domain {domain!r} in {FILE} has no list of sources.", found=repr(sources)) from None
        for source in names:
            if found.setdefault(source, domain) != domain:
                raise SettingsError(
                    f"The source {source!r} in {FILE} has two domains.",
                    found=f"{found[source]} and {domain}",
                    remedy="Name it under one of them.",
                )
    return found
