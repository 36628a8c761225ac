"""The live loops: each turns one kind of message into the next and receives its clock, seed and sinks."""
