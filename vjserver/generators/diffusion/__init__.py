"""The diffusion generator: SD-Turbo, LCM and their kin, live. torch is imported when a model is opened."""

from vjserver.generators.diffusion.generator import DiffusionGenerator

__all__ = ["DiffusionGenerator"]
