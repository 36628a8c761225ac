"""VQGAN and CLIP: a picture that is painted towards its prompts, step by step."""
