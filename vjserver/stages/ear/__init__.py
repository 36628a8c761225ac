"""The ear: sound in; features, events and OSC out."""
