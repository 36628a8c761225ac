"""``python -m vjserver``: the same as the ``vjserver`` command."""

from vjserver.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
