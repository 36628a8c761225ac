"""What comes with us, as tests call it: the registry, and functions that stand on it."""

from dataclasses import dataclass, field, replace

from vjserver.runtime.installed import shipped
from vjserver.show import changes, looks
from vjserver.show.desk import Desk
from vjserver.show.mapping import MapperMemory, mapped, own_of
from vjserver.show.preset import Preset
from vjserver.show.travel import TravelMemory, travelled

SHIPPED = shipped()
REGISTRY = SHIPPED.everything
PARAMS = SHIPPED.parameters
DEFAULT_PARAMS = SHIPPED.settled({})


def accept(address, args):
    """Return accepted arguments."""
    return SHIPPED.accept(address, args)[1]


def apply(now, t_ns, address, args, bank):
    """Return the state after an accepted message."""
    return changes.apply(now, t_ns, SHIPPED.canonical(address), args, bank, SHIPPED)


def read(now, address):
    """Return the present value of an address."""
    return changes.read(now, address, SHIPPED)


def enter(now, place, preset, t_ns=0, lasts_s=0.0):
    """Return the state with a preset playing."""
    return looks.enter(now, place, preset, SHIPPED, t_ns, lasts_s)


def preset_of(**fields):
    """Return a preset that may name everything that comes with us."""
    return Preset.model_validate(fields, context={"registry": SHIPPED})


def desk_of(bank, now, *more, **fields):
    """Return a desk that knows everything that comes with us."""
    return Desk(bank, now, *more, registry=SHIPPED, **fields)


@dataclass
class Mapper:
    """Maps frame after frame, as a loop does."""

    memory: MapperMemory = field(default_factory=MapperMemory)

    def __call__(self, now, features, t_ns, seconds, size):
        """Return the request, with the knobs of the generator that plays."""
        request, knobs, self.memory = mapped(now, features, t_ns, seconds, size, self.memory, SHIPPED)
        return replace(request, own=own_of(SHIPPED, now.generator, knobs))


@dataclass
class PromptTravel:
    """Lets prompts travel frame after frame."""

    memory: TravelMemory = field(default_factory=TravelMemory)

    def __call__(self, now, seconds, lasts_s, how="smooth"):
        """Return where each slot is."""
        slots, self.memory = travelled(now, seconds, lasts_s, how, self.memory)
        return slots
