"""Many machines: the same stretches of a film, made by the workers of a Ray cluster.

A worker makes a stretch as a process here would, in a folder of its own, and hands back its files (a few MB a segment);
where it sees our folder it writes there, and hands back their names. Frames never travel.
"""

import contextlib
import importlib
import pickle
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import vjserver
from vjserver.films.film import Film, FilmPlan, Stretch, Tell
from vjserver.films.parts import digests_path, film_path, is_made, thumb_path
from vjserver.films.render import AGAIN, Made, Progress, digest_of, missing
from vjserver.films.segment import make_stretch
from vjserver.runtime.files import remove
from vjserver.types.errors import ConfigError, GeneratorError, VJError

PATIENCE_S = 5.0
PORT = 6379
Files = dict[str, bytes]


def render_on_ray(film: Film, plan: FilmPlan, folder: Path, address: str, tell: Tell, progress: Progress) -> Made:
    """Make what is missing of a film on a cluster. Raises VJError; what is whole by then stays."""
    ray = _connected(address)
    todo = missing(plan, folder, film)
    lacking = [one for stretch in todo for one in stretch.segments if not is_made(folder, one, film.codec)]
    total, done = sum(segment.frames for segment in lacking), 0
    mark = folder / f".{uuid4().hex}.here"
    try:
        mark.touch()
        packed = ray.put(pickle.dumps(film))
        heard = ray.put({role: _files_of(path) for role, path in _hearings(film).items()})
        task = ray.remote(num_cpus=1, max_retries=0)(_make)

        def send(stretch: Stretch) -> Any:
            return task.remote(packed, heard, stretch, str(mark), vjserver.__version__)

        running = {send(stretch): stretch for stretch in todo}
        tries: dict[int, int] = {}
        while running:
            ready, _ = ray.wait(list(running), num_returns=1, timeout=PATIENCE_S)
            if not ready:
                _check_alive(ray, tell)
            for reference in ready:
                stretch = running.pop(reference)
                try:
                    node, fault, files = ray.get(reference)
                except ray.exceptions.RayError as error:
                    tries[stretch.number] = tries.get(stretch.number, 0) + 1
                    why = type(error).__name__
                    if tries[stretch.number] > AGAIN:
                        raise GeneratorError(
                            f"the workers that made frames {stretch.first} to {stretch.last} ended {AGAIN + 1} times "
                            f"({why}); what is whole stays"
                        ) from None
                    tell("worker", f"one ended ({why}); its frames are made again", False)
                    running[send(stretch)] = stretch
                    continue
                if fault:
                    raise GeneratorError(f"on {node}: {fault}")
                _keep(folder, files)
                done += sum(segment.frames for segment in stretch.segments if segment in lacking)
                progress(done, total)
    finally:
        mark.unlink(missing_ok=True)
        ray.shutdown()
    return Made(len(lacking), digest_of(plan, folder))


def _connected(address: str) -> Any:
    """Return Ray, connected. Raises ConfigError where it is not installed, or nobody answers."""
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(f"--ray needs Ray ({error}): pip install 'vjserver[ray]'") from None
    here: dict[str, str] = {}
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        host, port = (host, port) if host else (port, str(PORT))
        try:
            socket.create_connection((host, int(port)), PATIENCE_S).close()
        except (OSError, ValueError):
            raise ConfigError(f"no Ray answers at {address}: on the first machine, ray start --head") from None
        here = {"_node_ip_address": host} if host.startswith("127.") else {}
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, **here)
    except (ConnectionError, RuntimeError, ValueError) as error:
        why = (str(error).splitlines() or ["it does not answer"])[0][:200]
        raise ConfigError(f"no Ray answers ({why}): on the first machine, ray start --head") from None
    return ray


def _check_alive(ray: Any, tell: Tell) -> None:
    """Say that nobody works, where that is so: Ray itself waits for ever."""
    if not any(node["Alive"] and node["Resources"].get("CPU") for node in ray.nodes()):
        tell("ray", "no machine of the cluster has a processor to give: it is waited for", False)


def _hearings(film: Film) -> dict[str, Path]:
    return {"": film.folder, **film.stems}


def _files_of(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _keep(folder: Path, files: Files) -> None:
    """Let a stretch's files appear: last the films, by which a segment counts as made, each whole."""
    films: dict[str, Path] = {}
    for name in sorted(files, key=lambda name: Path(name).suffix not in (".sha256", ".jpg")):
        top, *inside = Path(name).parts
        part = folder / f"{top}.part"
        part.joinpath(*inside).parent.mkdir(parents=True, exist_ok=True)
        part.joinpath(*inside).write_bytes(files[name])
        films[top] = part
    for top, part in films.items():
        remove(folder / top)
        part.replace(folder / top)


# -- on a worker -------------------------------------------------------------------------------------------------


def _make(packed: bytes, heard: dict[str, Files], stretch: Stretch, mark: str, version: str) -> tuple[str, str, Files]:
    """Make a stretch; return the node's name, what went wrong, and the files where ours is not their folder."""
    node = socket.gethostname()
    if version != vjserver.__version__:
        return node, f"vjserver {vjserver.__version__} is there, and {version} here", {}
    film: Film = pickle.loads(packed)
    gone = [str(path) for path in film.inputs.values() if not path.exists()]
    if gone:
        return node, f"{gone[0]} is not there", {}
    shared = Path(mark).exists()
    with contextlib.ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vjserver-")))
        for i, (role, files) in enumerate(heard.items()):
            place = film.folder if not role else film.stems[role]
            if not place.exists():
                place = room / f"heard-{i}"
                place.mkdir()
                for name, data in files.items():
                    (place / name).write_bytes(data)
                film = replace(film, folder=place) if not role else replace(film, stems={**film.stems, role: place})
        folder = Path(mark).parent if shared else room / "parts"
        folder.mkdir(exist_ok=True)
        try:
            made = make_stretch(film, stretch, folder, _say_nothing, _nothing)
        except VJError as error:
            return node, str(error), {}
        if shared:
            return node, "", {}
        files = {}
        for segment in made:
            for path in (digests_path(folder, segment), thumb_path(folder, segment)):
                files[path.name] = path.read_bytes()
            whole = film_path(folder, segment, film.codec)
            for path in sorted(whole.iterdir()) if whole.is_dir() else [whole]:
                files[str(path.relative_to(folder))] = path.read_bytes()
        return node, "", files


def _nothing(_number: int) -> None:
    """Nobody counts there."""


def _say_nothing(_what: str, _why: str, _recovered: bool) -> None:
    """Nobody listens there."""
