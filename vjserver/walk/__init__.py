"""The mathematics of moving smoothly: pure functions on numbers and arrays."""
