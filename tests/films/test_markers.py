import csv
import io
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import pytest

from vjserver.films.markers import Marker, timecode, write
from vjserver.types.errors import ConfigError

NTSC = Fraction(30000, 1001)
ROWS = [
    Marker(61.0, 2.0, "part", "Part B"),
    Marker(0.5, 1.0, "scene", "Mara | <the> pier"),
    Marker(33.0, 0.0, "drop", "Drop"),
]


@pytest.mark.parametrize(
    ("frame", "rate", "said"),
    [
        (0, NTSC, "00:00:00;00"), (1799, NTSC, "00:00:59;29"), (1800, NTSC, "00:01:00;02"),
        (17981, NTSC, "00:09:59;29"), (17982, NTSC, "00:10:00;00"), (107892, NTSC, "01:00:00;00"),
        (3600, Fraction(60000, 1001), "00:01:00;04"), (215784, Fraction(60000, 1001), "01:00:00;00"),
        (1440, Fraction(24000, 1001), "00:01:00:00"), (1500, Fraction(25), "00:01:00:00"),
        (29, Fraction(30), "00:00:00:29"),
    ],
)  # fmt: skip
def test_timecodes_drop_numbers_as_television_does(frame, rate, said):
    assert timecode(frame, rate, 0) == said
    hour = timecode(frame, rate)
    assert hour[:2] == f"{int(said[:2]) + 1:02d}"
    assert hour[2:] == said[2:]


def test_a_list_for_resolve():
    text = write(ROWS, Path("m.edl"), "My film", NTSC)[0]
    rows = text.split("\r\n")
    assert rows[:2] == ["TITLE: My film", "FCM: DROP FRAME"]
    assert rows[3] == "001  001      V     C        01:00:00;15 01:00:00;16 01:00:00;15 01:00:00;16"
    assert rows[4] == " |C:ResolveColorBlue |M:Mara / <the> pier |D:30"
    assert write(ROWS, Path("m.edl"), "x", Fraction(24))[0].split("\r\n")[1] == "FCM: NON-DROP FRAME"


def test_a_sequence_for_premiere():
    tree = ElementTree.fromstring(write(ROWS, Path("m.xml"), "A & B", NTSC)[0])
    sequence = tree.find("sequence")
    assert sequence.findtext("name") == "A & B"
    assert sequence.findtext("rate/ntsc") == "TRUE"
    assert sequence.findtext("rate/timebase") == "30"
    assert [m.findtext("name") for m in sequence.iter("marker")] == ["Mara | <the> pier", "Drop", "Part B"]
    assert [int(m.findtext("in")) for m in sequence.iter("marker")] == [15, 989, 1828]


def test_rows_for_a_table_and_chapters():
    rows = list(csv.DictReader(io.StringIO(write(ROWS, Path("m.csv"), "x", Fraction(30))[0])))
    assert [row["name"] for row in rows] == ["Mara | <the> pier", "Drop", "Part B"]
    assert rows[1]["timecode"] == "00:00:33:00"
    assert rows[2]["frame"] == "1830"
    assert write(ROWS, Path("m.txt"), "x", Fraction(30))[0] == "0:00 Mara / <the> pier\n"
    parts = [Marker(3600.0, 1.0, "part", "Part A"), Marker(0.0, 1.0, "part", "Part B")]
    assert write(parts, Path("m.txt"), "x", Fraction(30))[0] == "0:00 Part B\n1:00:00 Part A\n"


def test_another_ending_is_told():
    with pytest.raises(ConfigError, match=r"\.csv, \.edl"):
        write(ROWS, Path("m.doc"), "x", Fraction(30))
