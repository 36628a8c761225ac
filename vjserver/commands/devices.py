"""``vjserver devices``: the audio inputs of this machine."""

import argparse

from vjserver.sources.device import devices


def arguments(_parser: argparse.ArgumentParser) -> None:
    """Take nothing."""


def run(_args: argparse.Namespace) -> int:
    """List them."""
    found = devices()
    for device in found:
        mark = "*" if device.default else " "
        loop = "  [loopback: hears what this machine plays]" if device.loopback else ""
        row = f"{device.name}  ({device.api}, {device.channels} channels, {device.rate_hz} Hz)"
        print(f"{mark} {device.index:3d}  {row}{loop}")
    if not found:
        print("no audio input on this machine; vjserver demo, or run --source click, works without one")
    return 0
