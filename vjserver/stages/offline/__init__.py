"""Without a clock: a whole song in, what the ear hears in it and what the desk does to it out."""
