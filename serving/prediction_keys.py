"""What a cached prediction is stored under, in the API's caches and in those of stream workers."""

from data.cleaning import CLEANING_VERSION
from data.domains import GENERAL
from data.fingerprint import text_key
from serving.tiers import BASE


def cache_name(fingerprint: str, tier: str, head: str = GENERAL) -> str:
    """Return what a cached prediction is stored under, next to its text.

    The bundle's fingerprint, the tier if not `base`, and the head that the text's domain asks for if not `general`.
    """
    name = fingerprint if tier == BASE else f"{fingerprint}/{tier}"
    return name if head == GENERAL else f"{name}:{head}"


def cache_prefix(name: str) -> bytes:
    """Return what comes before a text in its key; the version of the cleaning rules belongs to it."""
    return f"{name}\0{CLEANING_VERSION}\0".encode()


def cache_key(name: str, text: str) -> bytes:
    """Return the key of a cleaned text, 16 bytes.

    Args:
        name: Of the bundle, its engine, the tier and the head, see `cache_name`.
        text: The cleaned text.
    """
    return text_key(text, cache_prefix(name))
