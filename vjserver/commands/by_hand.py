"""``vjserver doctor --by-hand``: the list of what only a real machine can show, as a text file to be filled in.

``docs/by-hand.md`` has the same list. What was written into the file goes into the report.
"""

import re
import time
from pathlib import Path

from vjserver.app.display import versions
from vjserver.runtime.files import write_whole
from vjserver.types.errors import ConfigError

FILE = "vjserver-by-hand.txt"
LONGEST = 1 << 16
ROWS = (
    (
        '`uv venv`, `uv pip install -e ".[ndi]"`, `uv run vjserver demo`',
        "show the panel within a minute, then pictures",
    ),
    ("the same in a folder with a space and an umlaut in its name", "the same"),
    ("Ctrl-C", "end within two seconds, nothing stays in the task list"),
    ("close the terminal's window while it runs", "end too"),
    ("`vjserver devices`, then `run --device NAME` with a microphone", "move the meters"),
    ("`run --device loopback`, music in a browser", "move the meters, find the tempo"),
    ("pull the audio interface out, wait ten seconds, put it in", "go on, and hear again by itself"),
    ("kill the process `generate` in the task list", "show the safe loop, then pictures again"),
    ("kill `ear`, then `deliver`, then `control`", "lose no beat and no picture that you can see"),
    ("let the computer sleep for a minute, wake it", "go on"),
    ("NDI Studio Monitor on a second computer", "show the picture"),
    ("Spout (Windows) or Syphon (macOS) in any receiver", "show the picture, upright, in the right colours"),
    ("TouchDesigner: `vjserver touchdesigner`, paste the line", "build the component; status `connected`"),
    ("there, each transport of page Connect", "show the picture"),
    ("a MIDI controller: faders, pads, LEDs; pull it, put it in", "play and light, and come back"),
    ('`pip install "vjserver[link]"`, Ableton Live beside it, `/vj/tempo/link follow`', "follow Live's tempo and bar"),
    ("`run --lan INTERFACE`, the printed address on a phone", "show the panel; without the token not"),
    ("`/vj/record 1`, a minute, `/vj/record 0`", "leave a film in which sound and picture are together"),
    ("the GPU's torch, `models pull sd-turbo`, `run --preset chrome-garden`", "make more than 20 pictures a second"),
    ("a whole evening: `run --seconds 14400`", "still run, with the memory that it had after ten minutes"),
)
"""What to do, and what it should do then."""


def checklist() -> str:
    """Return the list, with room for answers."""
    head = (
        f"What only a real machine can show. {time.strftime('%Y-%m-%d')}\n{versions()}\n\n"
        'Write behind each "saw:" yes, no, or what you saw. Leave empty what you did not try.\n'
        "Then: vjserver doctor --report   (in this folder: it takes this file in)\n"
    )
    rows = (f"\n{i}. {do}\n   should: {should}\n   saw: \n" for i, (do, should) in enumerate(ROWS, 1))
    measured = "\nMeasured (the panel's HEALTH): sound to OSC, sound to picture, made a second\n   saw: \n"
    return head + "".join(rows) + measured


def answered(text: str) -> int:
    """Return how many rows of a list have an answer."""
    return len(re.findall(r"^ *saw:[^\S\n]*\S", text, re.MULTILINE))


def write_list(folder: Path) -> Path:
    """Write the list into ``folder``; return where it is. Raises ConfigError where there is one, or none can be."""
    path = folder / FILE
    if path.exists():
        raise ConfigError(f"{path} is there already: fill it in, or move it away")
    try:
        write_whole(path, checklist().encode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; go to a folder of yours first") from None
    return path


def read_list(folder: Path) -> str:
    """Return the list that was filled in in ``folder``, ``""`` where there is none. Raises ConfigError."""
    path = folder / FILE
    if not path.exists():
        return ""
    try:
        text = path.read_bytes().decode("utf-8-sig")[:LONGEST]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8: save it as UTF-8") from None
    return text.replace("\r\n", "\n")
