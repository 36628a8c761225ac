"""What the command line does: a module a command, with its arguments and what it runs."""
