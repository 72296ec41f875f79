"""`make bench-dashboard`: the page under load, many viewers, and panels over a hundred million rows."""
