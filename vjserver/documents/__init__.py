"""Documents: what is kept goes out as PDF, folders and archives that other programs read, and scripts come in."""
