"""Generate: the newest sound and the newest state in, a frame out."""
