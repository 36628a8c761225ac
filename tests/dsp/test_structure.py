"""Structure: songs of textures that come and go, and their parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vjserver.dsp.structure import bar_rows, boundaries, labelled, novelty, parts_of

RATE, BAR_S = 100.0, 2.0


def song(*bars, seed=0, noise=0.02):
    """Return rows, the beginnings of bars and the energy of a song: each of ``bars`` is the texture of a bar."""
    rng = np.random.default_rng(seed)
    textures = {name: (rng.uniform(0, 1, 10), rng.uniform(0, 1, 12)) for name in "ABCD"}
    count = round(BAR_S * RATE)
    sound = np.concatenate([np.tile(textures[bar][0], (count, 1)) for bar in bars])
    chroma = np.concatenate([np.tile(textures[bar][1], (count, 1)) for bar in bars])
    sound, chroma = (row + rng.normal(0, noise, row.shape) for row in (sound, chroma))
    bars_s = [BAR_S * i for i in range(len(bars) + 1)]
    energy = [{"A": 0.2, "B": 0.8}.get(bar, 0.5) for bar in bars]
    return bar_rows(sound, chroma, bars_s, RATE), bars_s, energy


@pytest.mark.parametrize("seed", range(5))
def test_two_textures_in_turn_are_four_parts(seed):
    rows, bars_s, energy = song(*("A" * 8 + "B" * 8) * 2, seed=seed)
    assert boundaries(novelty(rows)) == [0, 8, 16, 24]
    parts = parts_of(rows, bars_s, energy)
    assert [part.label for part in parts] == list("ABAB")
    assert [part.begin_s for part in parts] == [0, 16, 32, 48]
    assert [part.end_s for part in parts] == [16, 32, 48, 64]
    assert [part.energy for part in parts] == pytest.approx([0.2, 0.8, 0.2, 0.8])


def test_three_textures_have_three_letters_in_the_order_in_which_they_come():
    rows, bars_s, energy = song(*"A" * 8, *"B" * 8, *"C" * 8, *"A" * 8)
    assert [part.label for part in parts_of(rows, bars_s, energy)] == list("ABCA")


def test_parts_that_begin_off_the_grid_of_four_are_found_there():
    rows, bars_s, energy = song(*"A" * 2, *("B" * 8 + "A" * 8) * 2)
    assert [part.begin_s / BAR_S for part in parts_of(rows, bars_s, energy)] == [0, 2, 10, 18, 26]


@pytest.mark.parametrize("count", range(1, 8))
def test_a_short_song_is_one_part(count):
    rows, bars_s, energy = song(*("AB" * 8)[:count])
    (part,) = parts_of(rows, bars_s, energy)
    assert (part.begin_s, part.end_s, part.label) == (0.0, count * BAR_S, "A")
    assert part.energy == pytest.approx(np.mean(energy))


def test_a_last_bar_that_is_cut_off_and_one_beyond_the_table_are_bars():
    sound = np.random.default_rng(0).uniform(size=(1000, 4))
    rows = bar_rows(sound, np.ones((1000, 12)), [0.0, 5.0, 9.9995, 10.0, 12.0], 100.0)
    assert rows.shape == (4, 2 * 4 + 12)
    assert np.isfinite(rows).all()


def test_silence_is_no_trouble():
    rows = bar_rows(np.zeros((3200, 6)), np.zeros((3200, 12)), [float(i) for i in range(33)], 100.0)
    found = novelty(rows)
    assert np.isfinite(found).all()
    parts = parts_of(rows, [float(i) for i in range(33)], [0.0] * 32)
    assert (parts[0].begin_s, parts[-1].end_s) == (0.0, 32.0)


@given(st.integers(8, 90), st.integers(0, 1000), st.sampled_from(["noise", "steps", "walk"]))
@settings(max_examples=60)
def test_parts_cover_a_song_without_a_gap_and_novelty_is_a_share(count, seed, kind):
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 1, (count, 8)).astype(np.float32)
    if kind == "steps":
        rows = rows[np.arange(count) // 7]
    if kind == "walk":
        rows = rows.cumsum(axis=0)
    found = novelty(rows)
    assert found.shape == (count,)
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    bars_s = np.arange(count + 1) * 1.9
    parts = parts_of(rows, bars_s, [0.5] * count)
    assert (parts[0].begin_s, parts[-1].end_s) == (0.0, bars_s[-1])
    assert [part.end_s for part in parts[:-1]] == [part.begin_s for part in parts[1:]]
    assert all(part.end_s > part.begin_s for part in parts)
    assert parts[0].label == "A"


def test_letters_go_on_behind_z():
    rng = np.random.default_rng(0)
    labels = labelled(list(rng.normal(0, 1, (60, 200)).astype(np.float32)))
    assert labels[25:29] == ["Z", "AA", "AB", "AC"]
    assert len(set(labels)) == 60
