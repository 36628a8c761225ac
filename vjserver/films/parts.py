"""The files of a segment: where they are, and whether they are there and whole."""

import hashlib
from pathlib import Path

from vjserver.films.codecs import Codec
from vjserver.films.film import Segment, Stretch

DIGEST_SIZE, THUMB_WIDTH = 32, 360


def digests_path(folder: Path, segment: Segment) -> Path:
    """Return where the digests of a segment's pictures are."""
    return folder / f"{segment.digest}.sha256"


def film_path(folder: Path, segment: Segment, codec: Codec) -> Path:
    """Return where a segment's film is; for a sequence of pictures that is a folder."""
    return folder / f"{segment.digest}{codec.suffix if codec.container else ''}"


def thumb_path(folder: Path, segment: Segment) -> Path:
    """Return where a small picture of a segment's middle is."""
    return folder / f"{segment.digest}.jpg"


def is_made(folder: Path, segment: Segment, codec: Codec) -> bool:
    """Tell whether a segment is there. What somebody else did to its files is seen by :func:`is_whole`."""
    digests = digests_path(folder, segment)
    size = digests.stat().st_size if digests.exists() else -1
    return size == DIGEST_SIZE * (segment.frames + 1) and film_path(folder, segment, codec).exists()


def is_whole(folder: Path, segment: Segment, codec: Codec) -> bool:
    """Tell whether a segment's files are as they were written: the last digest is that of all else."""
    data = digests_path(folder, segment).read_bytes()
    return data[-DIGEST_SIZE:] == checksum(data[:-DIGEST_SIZE], film_path(folder, segment, codec))


def picture_digests(folder: Path, segment: Segment) -> bytes:
    """Return the digests of a segment's pictures, in order."""
    return digests_path(folder, segment).read_bytes()[:-DIGEST_SIZE]


def checksum(digests: bytes, film: Path) -> bytes:
    """Return the SHA-256 of a segment's digests and of the bytes of its film."""
    told = hashlib.sha256(digests)
    for path in sorted(film.iterdir()) if film.is_dir() else [film]:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                told.update(block)
    return told.digest()


def state_path(folder: Path, stretch: Stretch, segment: Segment) -> Path:
    """Return where what comes after a segment is kept."""
    return folder / f"{segment.digest}-{stretch.number}.state"
