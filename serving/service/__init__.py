"""The HTTP API: requests are batched and classified with the served bundle."""
