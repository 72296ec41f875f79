"""Labeled text: sources, cleaning, checks and splits; also settings, errors and contracts.

Imports no sibling folder, and is cheap to import: no torch, no Great Expectations.
"""
