"""Tiny random-weight models in the exact layouts of the real ones, in a store of their own."""

import logging
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the diffusion generator needs torch: pip install 'vjserver[diffusion]'")

from bench.random_models import LAYOUTS, make_model, make_taesd  # noqa: E402
from vjserver.generators.diffusion import store  # noqa: E402


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Return the folder of each layout by name, and ``taesd``: random weights, laid out as the real ones."""
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    home = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folders = {name: make_model(home / name, name) for name in LAYOUTS}
        make_taesd().save_pretrained(home / "taesd")
    return folders | {"taesd": home / "taesd"}


@pytest.fixture
def empty_store(tmp_path, monkeypatch):
    """A model store with nothing in it."""
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path / "data"))
    return store.store_folder()


@pytest.fixture(scope="session")
def filled_store(models, tmp_path_factory):
    """A model store into which every tiny model was taken by ``models add``."""
    data = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VJSERVER_DATA", str(data))
        for name, folder in models.items():
            store.add(folder, name)
    return data


@pytest.fixture
def stocked(filled_store, monkeypatch):
    """Use the store with all tiny models."""
    monkeypatch.setenv("VJSERVER_DATA", str(filled_store))
    return filled_store / "models"
