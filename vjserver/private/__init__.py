"""Pages for one person on this machine: the dream journal and the notebook. No show opens them."""
