"""vjserver: hears the beat, makes the picture, feeds TouchDesigner."""

__version__ = "0.1.0"
