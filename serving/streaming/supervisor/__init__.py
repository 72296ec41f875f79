"""How many workers run, and what they did."""
