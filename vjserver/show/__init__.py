"""What can be changed, what it is now, and how sound moves it: pure, no I/O."""
