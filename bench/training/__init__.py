"""Training the ear's two small networks: songs are made (``pool``), networks learn from them (``train``)."""
