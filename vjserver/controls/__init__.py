"""Doors through which the performer's hand comes in."""
