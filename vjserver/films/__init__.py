"""Films: a song, a storyboard or a take goes in, a frame-exact film comes out; segment by segment, on many machines."""
