"""Latents: noise, and ways through it that keep it Gaussian. Pure functions on arrays."""
