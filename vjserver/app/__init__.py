"""The wiring: which processes run, which doors they open, which pipes join them. Start with ``workers``."""
