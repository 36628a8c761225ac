"""The diffusion generator: SD-Turbo, LCM and their kin, live. torch is imported when a model is opened."""
