"""Draw the small pictures of our presets that the panel shows: presets/thumbs/NAME.jpg, 192x108."""

import sys
from pathlib import Path

import cv2
import numpy as np

from vjserver.app.offline import render_preset
from vjserver.app.preset_bank import load_bank, shipped
from vjserver.types.errors import GeneratorError

SIZE = (192, 108)


def main(names: list[str]) -> None:
    """Draw those named, or all."""
    folder = shipped("presets") / "thumbs"
    folder.mkdir(exist_ok=True)
    bank = load_bank()
    for slug, preset in bank.presets:
        if (names and slug not in names) or not (shipped("presets") / f"{slug}.toml").exists():
            continue
        try:
            *_, pixels = render_preset(preset, 4.0, (640, 360))
        except GeneratorError as error:  # a model that is not here: the panel draws the name alone
            print(f"{slug}: {error}")
            continue
        small = cv2.resize(np.asarray(pixels), SIZE, interpolation=cv2.INTER_AREA)
        path: Path = folder / f"{slug}.jpg"
        cv2.imwrite(str(path), cv2.cvtColor(small, cv2.COLOR_RGBA2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
