"""Predictions that are kept: in memory and in a store."""
