"""Shifts of sentiment: what is normal, what is not, who is notified."""
