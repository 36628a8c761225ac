"""Which versions of what make the pictures: others may make others."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("vjserver", "numpy", "numba", "opencv-python-headless", "av", "torch", "diffusers", "transformers")


def versions() -> dict[str, str]:
    """Return the versions of what is installed of them, and of Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
