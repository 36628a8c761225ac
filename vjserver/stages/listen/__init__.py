"""Listen: the sound of a microphone in, what was said out."""
