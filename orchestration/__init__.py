"""Says when each step happens: thin assets, checks, jobs, schedules, sensors, and the command line."""
