"""The command line: one file for each group of commands, the work behind a command in a file of its own where it is long."""
