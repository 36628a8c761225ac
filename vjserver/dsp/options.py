"""The ear's options, as a show file says them. Nothing else is imported: who only reads a show file needs no ear."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SLOWEST_BPM, FASTEST_BPM = 40.0, 240.0
Channel = Annotated[int, Field(ge=0, le=63)]


class GainOptions(BaseModel):
    """How levels become 0..1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gate_db: float = Field(-70.0, ge=-120.0, le=0.0, description="a whole level below this is silence, dBFS")
    min_range_db: float = Field(6.5, gt=0.0, le=90.0, description="the narrowest range that is stretched to 0..1")
    max_range_db: float = Field(48.0, gt=0.0, le=120.0, description="the widest range that is kept")
    fall_s: float = Field(8.0, gt=0.0, description="how slowly a learnt range narrows, time constant in seconds")
    attack_s: float = Field(0.005, ge=0.0, description="smoothing of rising values, seconds")
    release_s: float = Field(0.12, ge=0.0, description="smoothing of falling values, seconds")


class DrumOptions(BaseModel):
    """How sure the ear must be of a drum, and how soon it may strike again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kick: float = Field(0.55, gt=0.0, lt=1.0, description="surety from which a kick fires")
    snare: float = Field(0.6, gt=0.0, lt=1.0, description="surety from which a snare fires")
    hat: float = Field(0.4, gt=0.0, lt=1.0, description="surety from which a hat fires")
    masking: float = Field(
        0.8, gt=0.0, le=1.0, description="surety from which a kick fires right after a snare, a snare after a kick"
    )
    masking_s: float = Field(0.03, ge=0.0, description="how long they mask each other")
    kick_refractory_s: float = Field(0.07, ge=0.0, description="shortest time between two kicks")
    snare_refractory_s: float = Field(0.06, ge=0.0, description="shortest time between two snares")
    hat_refractory_s: float = Field(0.04, ge=0.0, description="shortest time between two hats")


class OnsetOptions(BaseModel):
    """Which of aubio's onset functions is used, and how eager it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["default", "specdiff", "hfc", "energy", "complex", "phase", "specflux", "kl", "mkl"] = "default"
    window: Literal[512, 1024, 2048] = Field(512, description="samples")
    threshold: float = Field(0.3, gt=0.0, description="higher hears fewer onsets")
    shortest_s: float = Field(0.04, ge=0.0, description="shortest time between two onsets")
    gate_db: float = Field(-60.0, ge=-120.0, le=0.0, description="onsets below this are ignored, dBFS")


class TempoPrior(BaseModel):
    """Which tempi are expected; a performer who knows the night's music settles the octave with it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_bpm: float = Field(52.0, ge=SLOWEST_BPM, le=FASTEST_BPM, description="slower tempi are doubled")
    max_bpm: float = Field(212.0, ge=SLOWEST_BPM, le=FASTEST_BPM, description="faster tempi are halved")
    hint_bpm: float = Field(120.0, ge=SLOWEST_BPM, le=FASTEST_BPM, description="the likeliest tempo")
    hint_octaves: float = Field(1.0, gt=0.05, le=10.0, description="how far from the hint tempi may lie (one sigma)")

    @model_validator(mode="after")
    def _wide(self) -> "TempoPrior":
        if self.max_bpm < 1.1 * self.min_bpm:  # the narrowest genre spans 1.15
            raise ValueError(f"max_bpm must be at least 1.1 x min_bpm: got {self.min_bpm:g}..{self.max_bpm:g}")
        return self


class ClockOptions(BaseModel):
    """How the beat clock follows the ear."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    beats_per_bar: int = Field(4, ge=1, le=16, description="until another bar is heard")
    bend_hz: float = Field(0.2, gt=0.0, le=2.0, description="how quickly the clock bends: the loop's natural frequency")
    start_trust: float = Field(0.3, ge=0.0, le=1.0, description="how sure the ear must be to start or to move it")
    break_trust: float = Field(0.8, ge=0.0, le=1.0, description="the same while the drums are away")
    insist_beats: float = Field(1.5, gt=0.0, description="how long a contradiction must last to move the clock")
    hold_bars: int = Field(16, ge=1, description="how long the clock runs on with nothing to hold on to")
    delay_ms: float = Field(0.0, ge=-200.0, le=200.0, description="how late the sound reaches us (the input's latency)")


class EarOptions(BaseModel):
    """How the ear listens. The defaults suit a line signal or a microphone in a club."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: Literal[512, 1024, 2048, 4096] = Field(1024, description="samples a spectrum of the bands")
    channel: Channel | tuple[Channel, ...] | None = Field(
        None, description="listen to this channel only, from 0, or to several mixed ([2, 3]); None mixes all"
    )
    silence_after_s: float = Field(1.5, ge=0.0, description="how long below the gate before it counts as silence")
    envelope_s: float = Field(0.12, gt=0.0, description="how long a hit glows in the kick, snare, hat features")
    drop_s: float = Field(2.0, gt=0.0, description="how long a drop glows in the drop feature")
    pitch: bool = Field(True, description="track the pitch")
    gain: GainOptions = GainOptions()
    drums: DrumOptions = DrumOptions()
    onsets: OnsetOptions = OnsetOptions()
    tempo: TempoPrior = TempoPrior()
    clock: ClockOptions = ClockOptions()
