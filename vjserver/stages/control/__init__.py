"""Control: messages from every surface in, the one state of the show out."""
