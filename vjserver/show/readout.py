"""What there is to see of a desk: values of all addresses, what waits, which cue is next."""

from collections.abc import Sequence

from vjserver.show import changes
from vjserver.show.desk import Desk
from vjserver.show.registry import cue_of
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument


def values(desk: Desk, now_ns: int) -> dict[str, Argument]:
    """Return every value that surfaces show; ``/vj/preset/go`` is the number of the preset that plays."""
    rows = changes.values(desk.state, now_ns, desk.registry)
    rows["/vj/preset/go"] = desk.bank.number(desk.state.preset, desk.state.bank)
    return rows


def shows(desk: Desk, address: str, args: Sequence[Argument]) -> bool | None:
    """Tell whether what a message would bring is what is now; None where it would bring nothing.

    Nothing is brought by a preset that is not there, a snapshot that was not stored, an unknown cue.
    """
    cue_id = cue_of(address)
    try:
        if address == "/vj/preset/go":
            return desk.bank.called(args, desk.state.bank) == desk.state.preset
        if address == "/vj/snapshot/recall":
            return False if args[0] in desk.snapshots else None
        if cue_id:
            return desk.cues.find(cue_id).id == desk.state.cue
    except ConfigError:
        return None
    return bool(args) and desk.read(address) == args[-1]


def waits(desk: Desk, now_ns: int) -> list[tuple[str, int]]:
    """Return what waits for its boundary: the message in words, and the beats until then."""
    newest = desk.grid.count_at(now_ns) if desk.grid.running else 0
    return [(" ".join((p.address, *map(str, p.args))), max(0, p.count - newest)) for p in desk.pending]


def cue_names(desk: Desk) -> tuple[str, str]:
    """Return the ids of the cue that was called last, and of the next one; empty where there is none."""
    return desk.state.cue, desk.cues.next_id(desk.state.cue)
