"""TouchDesigner patches: ``patches`` declares them, ``builder`` builds them there, ``generate`` writes the files."""
