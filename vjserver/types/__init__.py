"""The messages that travel through the house: frozen, slotted, each stamped with the time of its cause."""
