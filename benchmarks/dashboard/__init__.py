"""`make bench-dashboard`: the dashboard under load, with many viewers, and its panels on a hundred million rows."""
