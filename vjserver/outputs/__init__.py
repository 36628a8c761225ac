"""Doors through which pictures and triggers go out."""
