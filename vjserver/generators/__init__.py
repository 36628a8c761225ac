"""Doors through which pictures come: each is a ``Generator`` that answers a ``FrameRequest`` with a ``Frame``."""
