"""Key frames: a text-to-image model makes a picture every few bars in the background; the picture travels between."""
