"""From sound at the device to an OSC datagram, with all four processes busy.

A PulseAudio null sink plays a click track; PortAudio hears its monitor. Two figures:

- *callback to datagram*: what the program adds, from the last sample behind an onset (as stamped in the audio
  callback's clock) to the arrival of its datagram, told by the running server itself;
- *sound to datagram*: from the click in the played signal to the datagram, the player's start found by the best fit
  of the whole track, so that only the jitter and the spread are meaningful, not the offset (PulseAudio's own buffers
  lie in it).

The baseline is the same PortAudio stream in a bare process: the jitter of its callbacks.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.report import percentiles, row
from vjserver.controls.osc import decode
from vjserver.sources.click import ClickOptions, click_track

SECONDS = 40
BPM = 120.0

BARE = """
import json, sys, time
import pyaudio
times = []
audio = pyaudio.PyAudio()
stream = audio.open(rate=48000, channels=2, format=pyaudio.paFloat32, input=True, frames_per_buffer=256,
                    stream_callback=lambda *_: (times.append(time.perf_counter_ns()), (None, 0))[1])
time.sleep(10)
stream.close(); audio.terminate()
print(json.dumps([(b - a) * 1e-6 for a, b in zip(times[100:], times[101:])]))
"""


def main() -> list[dict[str, object]]:
    if shutil.which("pulseaudio") is None:
        return [row("trigger_latency", "not measured: pulseaudio is not installed", "ms", n=0)]
    with tempfile.TemporaryDirectory() as folder:
        return _measure(Path(folder))


def _measure(home: Path) -> list[dict[str, object]]:
    home.chmod(0o700)
    (home / ".asoundrc").write_text('pcm.!default { type pulse device "vj.monitor" }\nctl.!default { type pulse }\n')
    env = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PULSE_SERVER": f"unix:{home}/native"}
    pulse = subprocess.Popen(
        ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=no", "--realtime=no",
         "--high-priority=no", "--use-pid-file=no",
         "-L", f"module-native-protocol-unix socket={home}/native auth-anonymous=1",
         "-L", "module-null-sink sink_name=vj rate=48000 channels=2"],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(1.5)
        bare = subprocess.run([sys.executable, "-c", BARE], env=env, capture_output=True, text=True)
        rows = [
            row(
                "trigger_latency",
                "bare PortAudio: callback period (256 frames)",
                "ms",
                **percentiles(json.loads(bare.stdout)),
            )
        ]
        return rows + _with_server(home, env)
    finally:
        pulse.kill()
        pulse.wait()


def _with_server(home: Path, env: dict[str, str]) -> list[dict[str, object]]:
    raw = home / "click.f32"
    raw.write_bytes(np.repeat(click_track(ClickOptions(bpm=BPM), SECONDS - 8.0), 2, axis=1).tobytes())
    arrivals: dict[str, list[float]] = {"/vj/kick": [], "/vj/onset": []}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.5)
        show = home / "show.toml"
        show.write_text(
            f'[source]\nkind = "device"\nname = "default"\n[video]\nwidth = 1280\nheight = 720\n'
            f"[osc]\nport = 19010\ntargets = [{{port = {listener.getsockname()[1]}}}]\n[web]\nport = 19020\n"
        )
        command = [sys.executable, "-m", "vjserver", "run", str(show), "--json", "--seconds", str(SECONDS)]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
            time.sleep(5.0)
            player = subprocess.Popen(
                ["pacat", "--playback", "-d", "vj", "--format=float32le", "--rate=48000", "--channels=2",
                 "--latency-msec=100", str(raw)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            while run.poll() is None:
                try:
                    packet = listener.recv(65536)
                except TimeoutError:
                    continue
                now = time.monotonic()
                for one in decode(packet):
                    if one.address in arrivals and one.args[0]:
                        arrivals[one.address].append(now)
            out = run.communicate()[0]
            player.kill()
            player.wait()
    inner = json.loads(out.splitlines()[-1])["latency_ms"]["audio_to_osc"]
    rows = [row("trigger_latency", "callback to datagram sent, all processes busy", "ms", **inner)]
    period = 60.0 / BPM
    for address, times in arrivals.items():
        phase = np.array(times[4:]) % period
        # the earliest arrivals set the origin: what is left is delay beyond the best case
        spread = (phase - np.percentile(phase, 2) + period / 2) % period - period / 2
        rows.append(
            row(
                "trigger_latency",
                f"{address}: spread of arrival over the best",
                "ms",
                **percentiles(list(spread * 1e3)),
            )
        )
    return rows


if __name__ == "__main__":
    main()
