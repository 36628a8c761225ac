"""Shots: a text-to-video model makes clips that last whole bars, ahead of time; they are launched on the bar."""
