import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vjserver.types.frames import HEADER_SIZE, MAX_SIDE, FrameInfo, HeaderError

u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
unit = st.floats(0, 1, width=32)
infos = st.builds(
    FrameInfo,
    width=st.integers(1, MAX_SIDE), height=st.integers(1, MAX_SIDE), frame_id=u64, t_capture_ns=u64,
    t_generated_ns=u64, t_sent_ns=u64, t_unix_ns=u64, stream_id=u32, flags=u32, bpm=st.floats(0, 400, width=32),
    beat_phase=unit, bar_phase=unit, beat_index=u32, source_frame_id=u64, prompt_hash=u64, seed=u32, crc32=u32,
    source_age_us=u32,
)  # fmt: skip


@given(infos)
def test_a_header_comes_back_as_it_went(info):
    data = info.pack()
    assert len(data) == HEADER_SIZE == 128
    back = FrameInfo.unpack(data)
    assert back.data_size == info.width * info.height * 4
    assert FrameInfo.unpack(back.pack()) == back
    assert (back.frame_id, back.seed, back.prompt_hash, back.width) == (
        info.frame_id, info.seed, info.prompt_hash, info.width,
    )  # fmt: skip
    assert math.isclose(back.bpm, info.bpm, rel_tol=1e-6)


def test_fields_lie_where_the_documentation_says():
    data = FrameInfo(640, 360, frame_id=7, seed=9, beat_index=11).pack()
    assert data[:4] == b"VJF1"
    assert int.from_bytes(data[16:24], "little") == 7
    assert int.from_bytes(data[56:60], "little") == 640
    assert int.from_bytes(data[64:68], "little") == 640 * 4
    assert data[68:72] == b"RGBA"
    assert int.from_bytes(data[96:100], "little") == 11
    assert int.from_bytes(data[116:120], "little") == 9


@given(st.binary(max_size=200))
def test_garbage_is_refused(data):
    with pytest.raises(HeaderError):
        FrameInfo.unpack(data)


@pytest.mark.parametrize(("at", "value"), [(0, b"VJF2"), (4, b"\x09\x00"), (56, b"\0\0\0\0"), (64, b"\1\0\0\0")])
def test_a_wrong_field_is_refused(at, value):
    data = bytearray(FrameInfo(64, 64).pack())
    data[at : at + len(value)] = value
    with pytest.raises(HeaderError):
        FrameInfo.unpack(bytes(data))
