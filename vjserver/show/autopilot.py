"""The autopilot: bars go in; now and then the preset that comes next comes out."""

import random
from dataclasses import dataclass

from vjserver.show.bank import Bank
from vjserver.show.state import ShowState
from vjserver.types.events import Argument


@dataclass(slots=True)
class Autopilot:
    """Counts the bars of a preset; ``bars_left`` are still to come."""

    bars_left: int = 0

    def choose(self, bar: int, state: ShowState, bank: Bank, seed: int) -> tuple[Argument, ...]:
        """Count a bar; on the last one return what ``/vj/preset/go`` takes: another preset, by weight. Else nothing.

        Chance comes from the seed and the bar's number, so that the same night is chosen again wherever it is begun.
        """
        self.bars_left -= 1
        if self.bars_left > 0:
            return ()
        self.bars_left = state.autopilot.bars
        chosen = state.bank if state.bank in bank.banks else ""
        places = [i for i in bank.places(chosen) if i != state.preset]
        weights = [bank.presets[i][1].autopilot for i in places]
        if sum(weights) <= 0.0:
            return ()
        place = random.Random(f"{seed}/{bar}").choices(places, weights)[0]
        name = bank.banks[place]
        return name, bank.number(place, name)
