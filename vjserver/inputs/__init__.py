"""Where pictures come in from outside, for a generator to start from."""
