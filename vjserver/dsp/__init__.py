"""The ear's mathematics: arrays in, arrays out; no clock, no thread, no device."""
