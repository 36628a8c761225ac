"""What a CUDA graph would refuse, refused on the CPU already: a captured frame may ask nothing of the host."""

import gc
import threading
import weakref
from contextlib import contextmanager
from typing import ClassVar

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operations that read a value back, whose size depends on values, or that bring data from the host.
FORBIDDEN = (
    "_local_scalar_dense", "item", "nonzero", "masked_select", "unique", "lift_fresh", "is_nonzero", "equal",
    "repeat_interleave.Tensor", "bincount",
)  # fmt: skip


class Strict(TorchDispatchMode):
    """Remembers every operation; refuses those that a captured graph cannot have."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func).removeprefix("aten.")
        self.names.append(name)
        if name.startswith(FORBIDDEN):
            raise AssertionError(f"{name} waits for the host or brings data from it")
        indices = args[1] if name.startswith("index.") else ()
        assert not any(i is not None and i.dtype == torch.bool for i in indices), "a mask's size depends on values"
        return func(*args, **(kwargs or {}))


def written(func, args, kwargs):
    """Return the tensors that an operation writes into."""
    named = [(row, args[i] if i < len(args) else kwargs.get(row.name)) for i, row in enumerate(func._schema.arguments)]
    rows = [value for row, value in named if row.alias_info is not None and row.alias_info.is_write]
    return [value for value in tree_leaves(rows) if isinstance(value, torch.Tensor)]


class Tape(TorchDispatchMode):
    """Captures operations as a CUDA graph does: on fixed buffers, without the Python between them; and replays them.

    As in a capture nothing is computed: what was written into is put back at the end.
    """

    def __init__(self):
        super().__init__()
        self.rows, self._before = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.is_mutable:
            self._before += [(value, value.clone()) for value in written(func, args, kwargs or {})]
        out = func(*args, **(kwargs or {}))
        self.rows.append((func, args, kwargs or {}, out))
        return out

    def undo(self):
        for value, before in reversed(self._before):
            value.copy_(before)
        self._before.clear()

    def replay(self):
        with torch.inference_mode():
            for func, args, kwargs, out in self.rows:
                outs = [o for o in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(o, torch.Tensor)]
                taken = {
                    a.untyped_storage().data_ptr() for a in tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)
                }
                if func._schema.is_mutable:
                    func(*args, **kwargs)
                elif not all(
                    o.untyped_storage().data_ptr() in taken for o in outs
                ):  # else a view: it moves with its base
                    again = func(*args, **kwargs)
                    again = [
                        o
                        for o in (again if isinstance(again, (tuple, list)) else (again,))
                        if isinstance(o, torch.Tensor)
                    ]
                    for old, new in zip(outs, again, strict=True):
                        old.copy_(new)


class FakeStream:
    made: ClassVar = []

    def __init__(self, _device=None, priority=0):
        self.priority = priority
        FakeStream.made.append(self)

    def wait_stream(self, other):
        assert isinstance(other, FakeStream)

    def synchronize(self):
        pass


@pytest.fixture
def fake_cuda(monkeypatch):
    """Stand in for torch.cuda's graphs, strictly: capture only in order, replay only what was captured.

    A pool whose graphs are all gone may not be captured into again; one capture runs at a time in a process, on a
    stream of its own, without garbage being collected; nobody waits for the whole device or gives its memory back
    meanwhile.
    """
    pools, capturing, here, usual = {}, threading.Lock(), threading.local(), FakeStream()
    FakeStream.made = []
    monkeypatch.setattr("vjserver.generators.captured._STREAMS", [])

    def current():
        return getattr(here, "streams", [usual])[-1]

    class Graph:
        def __init__(self):
            self.tape, self.done, self.begun = Tape(), False, False

        def capture_begin(self, pool=None, capture_error_mode="global"):
            assert capture_error_mode == "thread_local", "another thread may use the device meanwhile"
            assert not self.begun
            assert current() is not usual, "the stream that everybody uses cannot be captured"
            assert not gc.isenabled()
            assert not torch.backends.cudnn.benchmark, "somebody tries cuDNN's ways, which waits for the whole device"
            graphs = pools[pool]
            assert not graphs or any(graph() is not None for graph in graphs), "the graphs of this pool are all gone"
            assert capturing.acquire(blocking=False), "two captures at once"
            self.begun = True
            graphs.append(weakref.ref(self))
            self.tape.__enter__()

        def capture_end(self):
            assert self.begun
            assert not self.done
            self.tape.__exit__(None, None, None)
            self.tape.undo()
            self.done = True
            capturing.release()

        def replay(self):
            assert self.done, "a graph is captured before it is replayed"
            self.tape.replay()

    @contextmanager
    def on(stream):
        here.streams = [*getattr(here, "streams", [usual]), stream]
        yield
        here.streams = here.streams[:-1]

    def handle():
        pools[len(pools)] = []
        return len(pools) - 1

    def of_the_whole_device():
        assert not capturing.locked(), "nobody touches the whole device while a frame is captured"

    for name, value in {
        "CUDAGraph": Graph, "Stream": FakeStream, "current_stream": current, "stream": on,
        "graph_pool_handle": handle, "synchronize": of_the_whole_device, "empty_cache": of_the_whole_device,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
