"""The web page: the picture, the beat and the prompt box in a browser."""
