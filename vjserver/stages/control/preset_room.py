"""Presets and snapshots: files that change go in, the desk's bank comes out; what is broken or idle is told."""

import asyncio
from collections.abc import Callable

from vjserver.runtime.clock import Clock
from vjserver.show.bank import Bank
from vjserver.show.desk import Desk
from vjserver.stages.control.announcer import Announcer
from vjserver.stages.control.user_library import UserLibrary
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument


class PresetRoom:
    """Saves presets and snapshots, and takes up presets as they are edited. ``settle`` publishes the desk's state."""

    def __init__(
        self, desk: Desk, library: UserLibrary, clock: Clock, announcer: Announcer, settle: Callable[[], None]
    ) -> None:
        self._desk, self._library, self._clock, self._announcer, self._settle = desk, library, clock, announcer, settle
        self._idle_of: object = None
        self._reloading: asyncio.Task[None] | None = None
        self._reload_again = False

    def save(self, args: tuple[Argument, ...]) -> None:
        """Save the look as a preset. Raises ConfigError."""
        path = self._library.save_preset(self._desk.look, str(args[0]) if args else "", self._desk.bank)
        self._announcer.announce("presets", f"saved as {path.name}", recovered=True)
        self._reload_soon()

    def keep_snapshots(self, _args: tuple[Argument, ...]) -> None:
        """Have the snapshots on the disk. Raises ConfigError."""
        self._library.save_snapshots(self._desk.snapshots)

    def load_snapshots(self) -> None:
        """Take up the snapshots of other nights."""
        try:
            self._desk.snapshots = self._library.load_snapshots()
        except ConfigError as error:
            self._announcer.announce("snapshots", str(error))

    def _reload_soon(self) -> None:
        """Read all presets anew beside the loop, once for as many wishes as come meanwhile."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.reload()
            return
        if self._reloading is not None and not self._reloading.done():
            self._reload_again = True
        else:
            self._reloading = loop.create_task(self.reload_beside())

    async def reload_beside(self) -> None:
        """Read all presets anew, on a thread: there may be thousands."""
        self._reload_again = True
        while self._reload_again:
            self._reload_again = False
            try:
                bank = await asyncio.to_thread(self._library.load)
            except ConfigError as error:
                self._keep(error)
            else:
                self._rebank(bank)

    def reload(self) -> None:
        """Read all presets anew; where one is broken, say so and keep those that are there."""
        try:
            bank = self._library.load()
        except ConfigError as error:
            self._keep(error)
        else:
            self._rebank(bank)

    def _keep(self, why: ConfigError) -> None:
        self._announcer.announce("presets", f"{why}; the ones that were there stay")

    def _rebank(self, bank: Bank) -> None:
        bank = bank.repaired(self._desk.bank)
        self.tell_broken(bank)
        if bank != self._desk.bank:  # what we saved ourselves is noticed as an edited file too
            self._desk.rebank(bank, self._clock.now_ns())
            self._settle()

    def tell_broken(self, bank: Bank) -> None:
        """Name the presets that are broken, or tell that none is any more."""
        if bank.faults:
            there = {(name, slug) for name, (slug, _) in zip(bank.banks, bank.presets, strict=True)}
            kept = [slug for name, slug in bank.faults if (name, slug) in there]
            stays = f"; as it was before: {', '.join(kept)}" if kept else "; left out"
            why = "; ".join(fault.splitlines()[0] for fault in bank.faults.values())
            self._announcer.announce("presets", why + stays)
        else:
            self._announcer.recover("presets", "all of them can be read again")

    def tell_idle(self) -> None:
        """Say once what of the preset that plays lies idle, because a generator is not installed."""
        place, bank = self._desk.state.preset, self._desk.bank
        if (place, bank) == self._idle_of:
            return
        self._idle_of = place, bank
        idle = bank.presets[place][1].idle(self._desk.registry) if place < len(bank.presets) else ()
        if idle:
            self._announcer.announce("preset", "; ".join(idle))
        else:
            self._announcer.recover("preset", "all that it names is here")

    def tell_absent(self) -> None:
        """Say what a generator brought that makes no sense, and what cues would do with one that is not here."""
        self.tell_idle()
        registry, cues = self._desk.registry, self._desk.cues.cues
        for fault in registry.faults:
            kind, _, why = fault.partition(": ")
            self._announcer.announce(f"generator {kind}", why)
        absent = list(filter(None, (registry.absent(one.do) for cue in cues for one in cue.do)))
        takes = [cue.take for cue in cues if cue.take]
        missing = sorted(set(takes) - set(self._library.takes())) if takes else []
        if missing:
            names = ", ".join(map(repr, missing))
            self._announcer.announce("cue takes", f"there is no take {names} yet, which a cue is to play")
            self._announcer.faults.pop("cue takes")  # it may be recorded tonight
        if absent:
            kinds = sorted(set(absent))
            rows = [f"{kind} is not installed: {absent.count(kind)} messages lie idle" for kind in kinds]
            self._announcer.announce("cues", "; ".join(rows))
