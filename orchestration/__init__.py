"""When each step runs: thin assets, checks, jobs, schedules, sensors, and the command line."""
