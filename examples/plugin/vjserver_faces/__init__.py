"""An example of a generator for vjserver: a face that smiles."""
