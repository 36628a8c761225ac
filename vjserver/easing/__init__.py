"""Moving smoothly: pure functions on numbers."""
