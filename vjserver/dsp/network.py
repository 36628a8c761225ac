"""Networks: what the front end sees goes in, hop by hop; how surely something sounds comes out.

A dense layer, gated recurrent units and a dense layer, in numpy: a step costs some tens of microseconds and needs no
framework. The units are those of Cho et al. 2014 (arXiv 1406.1078) in PyTorch's form:
``r, z = sigmoid(W x + U h)``, ``n = tanh(W x + b + r (U h + c))``, ``h' = (1 - z) n + z h``. The weights are our own,
trained by ``bench/training``.
"""

from functools import cache
from importlib.resources import files

import numpy as np
from safetensors.numpy import load

from vjserver.types.audio import Float32

BEAT_DELAY_FRAMES = 3.0
_ONE, _HALF = np.float32(1.0), np.float32(0.5)


@cache
def weights(name: str) -> dict[str, Float32]:
    """Return the weights ``name`` that come with the program, as float32."""
    stored = load((files("vjserver.dsp") / "weights" / f"{name}.safetensors").read_bytes())
    return {key: np.ascontiguousarray(value, np.float32) for key, value in stored.items()}


class _Unit:
    """One recurrent layer and its state."""

    def __init__(self, w: Float32, u: Float32, b: Float32, c: Float32) -> None:
        size = u.shape[1]
        # The state's and the input's shares of the gates are one product; those of the candidate stay apart.
        # Half of it, since sigmoid(a) = (1 + tanh(a / 2)) / 2.
        self._gates = _HALF * np.concatenate((w[: 2 * size], u[: 2 * size]), axis=1)
        self._gate_bias = _HALF * (b[: 2 * size] + c[: 2 * size])
        self._w, self._b = np.ascontiguousarray(w[2 * size :]), b[2 * size :].copy()
        self._u, self._c = np.ascontiguousarray(u[2 * size :]), c[2 * size :].copy()
        self._size, self._inputs = size, w.shape[1]
        self._joined = np.zeros(self._inputs + size, np.float32)
        self.state = self._joined[self._inputs :]

    def __call__(self, x: Float32) -> Float32:
        joined, size = self._joined, self._size
        joined[: self._inputs] = x
        gates = self._gates @ joined
        gates += self._gate_bias
        np.tanh(gates, out=gates)
        gates += _ONE
        gates *= _HALF
        kept = self._u @ self.state
        kept += self._c
        kept *= gates[:size]
        kept += self._w @ x
        kept += self._b
        np.tanh(kept, out=kept)
        # h' = n + z (h - n)
        self.state -= kept
        self.state *= gates[size:]
        self.state += kept
        return self.state


class Network:
    """A trained network; call it once a hop."""

    def __init__(self, w: dict[str, Float32]) -> None:
        self._dense, self._bias = w["dense.weight"], w["dense.bias"]
        layers = sum(key.startswith("gru.weight_ih") for key in w)
        self._units = [
            _Unit(*(w[f"gru.{part}_l{i}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))
            for i in range(layers)
        ]
        self._out, self._out_bias = w["out.weight"], w["out.bias"]

    def __call__(self, x: Float32) -> Float32:
        """Return the probabilities, float32 ``(outputs,)``, for one hop's view, float32 ``(inputs,)``."""
        y = self._dense @ x
        y += self._bias
        np.maximum(y, 0.0, out=y)
        for unit in self._units:
            y = unit(y)
        said = self._out @ y
        said += self._out_bias
        said *= -_ONE
        np.exp(said, out=said)
        said += _ONE
        return np.asarray(_ONE / said)


class Committee:
    """Networks trained apart, whose mean errs less than any of them; call it as one."""

    def __init__(self, *names: str) -> None:
        self._networks = [Network(weights(name)) for name in names]

    def __call__(self, x: Float32) -> Float32:
        """Return the mean of their probabilities, float32 ``(outputs,)``."""
        first, *others = self._networks
        said = first(x)
        for network in others:
            said += network(x)
        said /= np.float32(len(self._networks))
        return said
