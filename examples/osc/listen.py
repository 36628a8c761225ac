"""Listen to vjserver's beat: prints beats, drums and errors.

vjserver demo            in one terminal
python listen.py         in another          (pip install python-osc)
"""

import argparse

from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer


def main() -> None:
    """Print what comes, until Ctrl-C or so many messages."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=9011, help="9011 has numbers, 9012 texts")
    parser.add_argument("--count", type=int, default=0, help="end after so many messages")
    args = parser.parse_args()
    seen = 0

    def heard(address: str, *values: object) -> None:
        nonlocal seen
        seen += 1
        print(address, *values, flush=True)

    dispatcher = Dispatcher()
    for address in ("/vj/beat", "/vj/kick", "/vj/snare", "/vj/hat", "/vj/event", "/vj/status/error"):
        dispatcher.map(address, heard)
    with BlockingOSCUDPServer(("127.0.0.1", args.port), dispatcher) as server:
        while not args.count or seen < args.count:
            server.handle_request()


if __name__ == "__main__":
    main()
