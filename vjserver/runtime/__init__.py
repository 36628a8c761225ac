"""What the rooms stand on: time, pipes, shared memory, supervision. No door and no stage is known here."""
