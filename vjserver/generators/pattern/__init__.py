"""The pattern generator: a prompt-driven picture from mathematics alone. No GPU, no weights, never black."""
