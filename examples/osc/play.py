"""Play vjserver: another picture, a slow zoom, and back.

vjserver demo            in one terminal
python play.py           in another          (pip install python-osc)
"""

import argparse
import time

from pythonosc.udp_client import SimpleUDPClient


def main() -> None:
    """Send some messages, as a controller would."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=9010)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long the zoom takes")
    args = parser.parse_args()
    vj = SimpleUDPClient("127.0.0.1", args.port)
    vj.send_message("/vj/preset/go", "mandala")
    vj.send_message("/vj/prompt/1/text", "golden mandala, slow")
    steps = 40
    for step in range(steps + 1):
        vj.send_message("/vj/param/zoom", step / steps)
        time.sleep(args.seconds / steps)
    vj.send_message("/vj/param/zoom/reset", [])


if __name__ == "__main__":
    main()
