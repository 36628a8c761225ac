"""Recognisers: sound goes in, words come out. One door a kind."""
