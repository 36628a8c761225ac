"""Doors through which sound comes in: each is a ``Source`` that gives ``AudioBlock``s."""
