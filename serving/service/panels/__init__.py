"""What the dashboard reads: panels, live messages, alerts."""
