"""Forgets messages and authors in every store: what is asked for is written down first, so that nothing is lost on the way."""
