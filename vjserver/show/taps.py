"""Taps: messages of a hand that sets the tempo go in, who keeps the tempo from then on comes out."""

from dataclasses import dataclass, field

from vjserver.types.events import Argument

NS = 1_000_000_000
TAPS = 4  # so many in a row set a tempo
TAP_NS = 2 * NS  # a longer pause begins anew


@dataclass(slots=True)
class Taps:
    """The newest taps in a row."""

    times: list[int] = field(default_factory=list)

    def source(self, t_ns: int, address: str, args: tuple[Argument, ...]) -> str:
        """Return who keeps the tempo after a message to ``address``, an empty text where that stays as it was.

        A hand outranks whoever kept it, until ``auto``.
        """
        if address == "/vj/tempo/tap":
            recent = self.times if self.times and t_ns - self.times[-1] < TAP_NS else []
            self.times = [*recent, t_ns][-TAPS:]
            return "tap" if len(self.times) == TAPS else ""
        if address == "/vj/tempo/lock":
            return "tap" if args and args[0] else "auto"
        return {"/vj/tempo/bpm": "tap", "/vj/tempo/auto": "auto"}.get(address, "")
