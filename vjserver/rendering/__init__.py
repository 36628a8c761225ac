"""One way from a moment of the show to a picture; the stage, films, the safe loop and thumbnails all take it."""
