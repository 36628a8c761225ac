"""The test band: plans, scores, sounds, effects, and the sets that the ear is scored on."""
