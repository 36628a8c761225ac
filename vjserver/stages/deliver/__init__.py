"""Deliver: frames in; a picture out to every output at every tick."""
