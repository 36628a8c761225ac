"""``vjserver osc``: watch, send, and the reference of all addresses."""

import argparse
import contextlib
import secrets
import socket
import time
from collections.abc import Sequence
from typing import Any

from vjserver.app.port_owner import port_owner
from vjserver.commands.options import run_action
from vjserver.controls.osc import OscError, OscMessage, decode
from vjserver.runtime.installed import installed, shipped
from vjserver.runtime.osc import message
from vjserver.show.addresses import OUTPUTS, PARAM, ArgumentSpec, Entry
from vjserver.show.registry import Registry
from vjserver.types.errors import ConfigError

ANSWER_S = 2.0
SETTLE_S = 0.03
LIST_S = 0.3


def monitor(host: str, port: int, seconds: float | None) -> int:
    """Print every message that arrives at a port, until ``seconds`` are over or Ctrl-C."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        try:
            listener.bind((host, port))
        except OSError as error:
            held = port_owner(port, "udp")
            raise ConfigError(f"port {port} on {host} cannot be used: {error.strerror}{held}") from None
        began = time.monotonic()
        listener.settimeout(0.2)
        while seconds is None or time.monotonic() - began < seconds:
            try:
                packet, sender = listener.recvfrom(65536)
            except TimeoutError:
                continue
            try:
                messages = decode(packet)
            except OscError as error:
                print(f"{time.monotonic() - began:9.3f}  {sender[0]}:{sender[1]}  not OSC: {error}", flush=True)
                continue
            for one in messages:
                print(f"{time.monotonic() - began:9.3f}  {_plain(one)}", flush=True)
    return 0


def send(host: str, port: int, address: str, args: Sequence[str]) -> int:
    """Send one message and print what comes back.

    A ping behind it is answered with what was wrong with the message, if anything was. Raises ConfigError for that,
    and where no server answers.
    """
    if not address.startswith("/"):
        raise ConfigError(f"an OSC address begins with /: got {address!r}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        try:
            sender.connect((host, port))
        except OSError as error:
            raise ConfigError(f"{host} cannot be found: {error.strerror or error}") from None
        marker = secrets.token_hex(6)
        for packet in (message(address, *[_value(arg) for arg in args]), message("/vj/ping", marker)):
            with contextlib.suppress(ConnectionError):
                sender.send(packet)
            time.sleep(SETTLE_S)  # what a message does is done when its batch is over
        deadline = time.monotonic() + ANSWER_S
        while (left_s := deadline - time.monotonic()) > 0.0:
            sender.settimeout(left_s)
            try:
                answers = decode(sender.recv(65536))
            except (TimeoutError, ConnectionError, OscError):
                break
            for one in answers:
                if one.address == "/vj/pong" and one.args[:1] == (marker,):
                    if len(one.args) > 1:
                        raise ConfigError(str(one.args[1]))
                    return 0
                print(_plain(one))
    raise ConfigError(f"no server answers at {host}:{port}: is vjserver running? (vjserver run, or --port N)")


def ask_outputs(port: int) -> list[tuple[Any, ...]]:
    """Return what the server at ``port`` says of its outputs: rows of ``/vj/status/output``, none if nobody answers."""
    rows: list[tuple[Any, ...]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(LIST_S)
        try:
            sender.sendto(message("/vj/output/list"), ("127.0.0.1", port))
            while True:
                rows += [one.args for one in decode(sender.recv(65536)) if one.address == "/vj/status/output"]
        except (TimeoutError, ConnectionError):
            return rows


def _value(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _plain(osc: OscMessage) -> str:
    args = " ".join(f"{a:.4g}" if isinstance(a, float) else repr(a) if isinstance(a, str) else str(a) for a in osc.args)
    return f"{osc.address} {args}".rstrip()


def reference(registry: Registry) -> str:
    """Return the reference of all addresses as Markdown; ``docs/osc.md`` is this text for what comes with us."""
    old = [f"`/vj/param/{alias}` ({key})" for alias, key in registry.aliases.items()]
    parts = [
        "# OSC addresses\n",
        "After this page you know every address, what it takes and what it does.\n",
        "Made by `vjserver osc reference` from the registry; do not edit.\n",
        "Messages go to UDP port 9010 (127.0.0.1). Numbers come back on port 9011 and texts on 9012; both are set in",
        "the show file (`[osc]`). A number out of range is clamped; a wrong type or an unknown address changes",
        "nothing; `/vj/status/error` says why. `ADDRESS?` (or `?` as the only argument) is answered with the",
        "value, to the sender. A button may send its 1 or nothing; the 0 of its release is ignored.\n",
        "What is marked *q* waits for the boundary that `/vj/quantise` names. A pattern (`*`, `?`, `[a-c]`, `{a,b}`)",
        "reaches every value that it means: `/vj/prompt/*/weight 0`. A bundle's timetag is waited for up to 2 s.",
        "Send `/vj/subscribe` to get all values, and then each that others change, until you send nothing for 10 s.\n",
        "## In\n",
        _table([e for e in registry.entries.values() if not _is_variant(e.address, registry)]),
        "\nEach `/vj/param/NAME` also has `/raw` (the value in its own unit), `/inc` (add) and `/reset`",
        "(back to the preset's value).\n",
        *(
            [
                "Knobs that can also be reached at an older address:",
                f"{', '.join(old)}.\n",
            ]
            if old
            else []
        ),
        "## Out\n",
        _table(list(OUTPUTS.values())),
    ]
    return "\n".join(parts) + "\n"


def _is_variant(address: str, registry: Registry) -> bool:
    number = address.split("/")[3] if address.startswith(("/vj/prompt/", "/vj/macro/")) else "1"
    return (address.startswith(PARAM) and not registry.key_of(address)) or (number.isdecimal() and number != "1")


def _table(entries: Sequence[Entry]) -> str:
    rows = ["| address | takes | at start | what it is |", "|---|---|---|---|"]
    for e in entries:
        address = e.address.replace("/vj/prompt/1/", "/vj/prompt/{1..8}/").replace("/vj/macro/1", "/vj/macro/{1..8}")
        start = (
            ""
            if e.default is None or e.default == ""
            else f"{e.default:.3g}"
            if isinstance(e.default, float)
            else str(e.default)
        )
        doc = e.doc.replace("prompt 1:", "prompt N:").replace("how much prompt 1", "how much prompt N")
        doc = doc.replace("macro 1:", "macro N:") + (" *q*" if e.quantised else "")
        rows.append(f"| `{address}` | {_takes(e.arguments)} | {start} | {doc} |")
    return "\n".join(rows)


def _takes(arguments: Sequence[ArgumentSpec]) -> str:
    if not arguments:
        return "nothing"
    if len(set(arguments)) > 1:
        return ", ".join(_takes((one,)) for one in arguments)
    one = arguments[0]
    if one.type in ("text", "name"):
        what = "text" if one.type == "text" else "name or number"
        words = f"{what} ({one.unit})" if one.unit else what
    elif one.type == "bool":
        words = "0 or 1"
    else:
        words = f"{one.type} {one.low:g}..{one.high:g} {one.unit}".strip()
    return f"{len(arguments)} x {words}" if len(arguments) > 1 else words


run = run_action


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver osc`` takes."""
    verbs = parser.add_subparsers(required=True, metavar="ACTION")
    verb = verbs.add_parser("monitor", help="print what arrives at a port")
    verb.add_argument("--port", type=int, default=9011)
    verb.add_argument("--host", default="127.0.0.1")
    verb.add_argument("--seconds", type=float)
    verb.set_defaults(action=_monitor)
    verb = verbs.add_parser("send", help="send one message and print the answer, if any")
    verb.add_argument("address")
    verb.add_argument("args", nargs="*", help="numbers are sent as numbers, anything else as text")
    verb.add_argument("--port", type=int, default=9010)
    verb.add_argument("--host", default="127.0.0.1")
    verb.set_defaults(action=_send)
    verb = verbs.add_parser("reference", help="print the reference of all addresses (Markdown)")
    verb.add_argument("--shipped", action="store_true", help="of what comes with vjserver, without plug-ins")
    verb.set_defaults(action=_reference)


def _monitor(args: argparse.Namespace) -> int:
    return monitor(args.host, args.port, args.seconds)


def _send(args: argparse.Namespace) -> int:
    return send(args.host, args.port, args.address, args.args)


def _reference(args: argparse.Namespace) -> int:
    print(reference(shipped() if args.shipped else installed()), end="")
    return 0
