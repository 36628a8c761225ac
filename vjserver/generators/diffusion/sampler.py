"""Samplers for one to four steps, written out as numbers: every step is a linear combination, so a frame can be
captured once and its schedule, strength included, changed live.

A frame begins with ``x = base_scale * base + noise_scale * noise[0]`` (``base``: the latent of the picture that is
changed, if any) and takes for each step

    out = unet(model_scale * x, timestep)
    x   = keep * x + use * out + noise * noise[i + 1]

``steps`` always counts calls of the UNet, and ``strength`` says how far into the noise the first one begins. In
diffusers' image-to-image with an Euler sampler that is ``num_inference_steps = steps / strength``.

Sources: Karras et al. 2022 (arXiv 2206.00364) for Euler and its ancestral variant, Sauer et al. 2023 (2311.17042) for
the trailing timesteps of turbo models, Luo et al. 2023 (2310.04378) for LCM; diffusers' schedulers are the oracle.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vjserver.types.errors import GeneratorError

SamplerName = Literal["euler", "ancestral", "lcm"]
MAX_STEPS = 4
SIGMA_DATA = 0.5
# Which of ours plays for a model's scheduler: class -> sampler. What is not here is sampled as Euler.
SAMPLERS: dict[str, SamplerName] = {
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "ancestral",
    "LCMScheduler": "lcm",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the UNet; see the head of this file."""

    timestep: int
    model_scale: float
    keep: float
    use: float
    noise: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a frame is sampled."""

    base_scale: float
    noise_scale: float
    steps: tuple[Step, ...]

    def numbers(self) -> list[float]:
        """Return everything but the timesteps, in the order in which the captured frame reads it."""
        return [self.base_scale, self.noise_scale] + [
            value for step in self.steps for value in (step.model_scale, step.keep, step.use, step.noise)
        ]


class Sampler:
    """Makes schedules for a model, from its ``scheduler_config.json``."""

    def __init__(self, config: Mapping[str, Any], name: SamplerName | None = None) -> None:
        """Raises GeneratorError for betas or predictions that no model of the known families uses."""
        self.name: SamplerName = name or SAMPLERS.get(str(config.get("_class_name")), "euler")
        self._prediction = config.get("prediction_type", "epsilon")
        if self._prediction not in ("epsilon", "v_prediction"):
            raise GeneratorError(f"a scheduler predicts epsilon or v_prediction: got {self._prediction!r}")
        for key in ("rescale_betas_zero_snr", "thresholding", "clip_sample"):
            if config.get(key) and (key != "clip_sample" or self.name == "lcm"):
                raise GeneratorError(f"a scheduler with {key} = true is not known here")
        self._kept = np.cumprod(1.0 - _betas(config))
        self._count = len(self._kept)
        self._origin = int(config.get("original_inference_steps", 50))
        self._timestep_scale = float(config.get("timestep_scaling", 10.0))

    def schedule(self, steps: int, strength: float = 1.0, from_picture: bool = False) -> Schedule:
        """Return the schedule of ``steps`` (1..4) calls.

        ``strength`` in (0, 1] counts where the frame begins ``from_picture``; one made of noise alone has all of it.
        """
        steps = min(MAX_STEPS, max(1, steps))
        strength = min(1.0, max(0.02, strength)) if from_picture else 1.0
        if self.name == "lcm":
            return self._lcm(steps, strength, from_picture)
        return self._euler(steps, strength, from_picture)

    def _euler(self, steps: int, strength: float, from_picture: bool) -> Schedule:
        reach = strength * self._count
        times = [max(0, round(reach * (1.0 - i / steps)) - 1) for i in range(steps)]
        sigmas = [float(np.sqrt((1.0 - self._kept[t]) / self._kept[t])) for t in times] + [0.0]
        rows = []
        for i, t in enumerate(times):
            here, there = sigmas[i], sigmas[i + 1]
            up = 0.0
            if self.name == "ancestral":
                up = float(np.sqrt(there**2 * (here**2 - there**2) / here**2))
                there = float(np.sqrt(there**2 - up**2))
            scale = 1.0 / float(np.sqrt(here**2 + 1.0))
            stride = there - here
            if self._prediction == "epsilon":
                keep, use = 1.0, stride
            else:
                keep, use = 1.0 + stride * here * scale**2, stride * scale
            rows.append(Step(t, scale, keep, use, up))
        return Schedule(1.0 if from_picture else 0.0, sigmas[0], tuple(rows))

    def _lcm(self, steps: int, strength: float, from_picture: bool) -> Schedule:
        stride = self._count // self._origin
        origin = np.arange(1, max(steps, int(self._origin * strength)) + 1)[::-1] * stride - 1
        times = origin[np.floor(np.linspace(0, len(origin), steps, endpoint=False)).astype(int)]
        rows = []
        for i, t in enumerate(map(int, times)):
            signal, noise = float(np.sqrt(self._kept[t])), float(np.sqrt(1.0 - self._kept[t]))
            scaled = t * self._timestep_scale
            skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
            out = scaled / float(np.sqrt(scaled**2 + SIGMA_DATA**2))
            if self._prediction == "epsilon":
                keep, use = out / signal + skip, -out * noise / signal
            else:
                keep, use = out * signal + skip, -out * noise
            last = i + 1 == steps
            kept = 1.0 if last else float(self._kept[int(times[i + 1])])
            rows.append(Step(t, 1.0, float(np.sqrt(kept)) * keep, float(np.sqrt(kept)) * use, float(np.sqrt(1 - kept))))
        kept = float(self._kept[int(times[0])]) if from_picture else 0.0
        return Schedule(float(np.sqrt(kept)), float(np.sqrt(1.0 - kept)), tuple(rows))


def _betas(config: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the variances that the model was trained with."""
    start, end, count = config["beta_start"], config["beta_end"], int(config.get("num_train_timesteps", 1000))
    if config["beta_schedule"] == "scaled_linear":
        return np.linspace(start**0.5, end**0.5, count) ** 2
    if config["beta_schedule"] == "linear":
        return np.linspace(start, end, count)
    raise GeneratorError(f"a beta_schedule is scaled_linear or linear: got {config['beta_schedule']!r}")
