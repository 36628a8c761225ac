"""Prompts: text goes in, embeddings come out; encoded off the frame path, remembered, and told when they were cut."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vjserver.generators.layout import variant_of

NOTHING = "\0"  # the name under which a prompt of zeros is kept


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt as the UNet reads it.

    ``tokens`` are ``(77, width)`` in the encoder's number format, ``pooled`` is SDXL's ``(width,)``; ``lost`` is the
    end of the text that did not fit into 77 tokens.
    """

    text: str
    tokens: Tensor
    pooled: Tensor | None
    lost: str


class TextEncoder:
    """A model's one or two text encoders, with their tokenizers."""

    def __init__(self, folder: Path, sdxl: bool, device: torch.device, dtype: torch.dtype) -> None:
        """Raises whatever transformers raises for files that are missing or damaged."""
        from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

        kinds: list[tuple[str, str, Any]] = [("tokenizer", "text_encoder", CLIPTextModel)]
        if sdxl:
            kinds.append(("tokenizer_2", "text_encoder_2", CLIPTextModelWithProjection))
        self._parts = []
        for tokenizer, encoder, kind in kinds:
            words = CLIPTokenizer.from_pretrained(str(folder / tokenizer), local_files_only=True)
            part = folder / encoder
            model = kind.from_pretrained(
                str(part), local_files_only=True, use_safetensors=True, variant=variant_of(part)
            )
            self._parts.append((words, model.to(device=device, dtype=dtype).eval()))
        self._sdxl, self._device = sdxl, device
        self._stream: Any = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, text: str) -> Encoded:
        """Encode one prompt, beside the frames and not between them; an empty one is that of no words."""
        if self._stream is None:
            return self._encode(text)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            encoded = self._encode(text)
        self._stream.synchronize()
        return encoded

    @torch.inference_mode()
    def _encode(self, text: str) -> Encoded:
        tokens, pooled, lost = [], None, ""
        for words, model in self._parts:
            limit = words.model_max_length
            ids = words(text, padding="max_length", max_length=limit, truncation=True, return_tensors="pt").input_ids
            every = words(text, padding="longest", return_tensors="pt").input_ids
            if every.shape[-1] > limit:
                lost = lost or words.decode(every[0, limit - 1 : -1]).strip()
            out = model(ids.to(self._device), output_hidden_states=self._sdxl)
            if self._sdxl:
                tokens.append(out.hidden_states[-2][0])
                pooled = out[0][0]
            else:
                tokens.append(out[0][0])
        return Encoded(text, torch.cat(tokens, -1), pooled, lost)

    def negative(self, text: str, empty_is_zero: bool) -> Encoded:
        """Encode a negative prompt; for some models an empty one is not that of no words but zero."""
        found = self(text)
        if text or not empty_is_zero:
            return found
        with torch.cuda.stream(self._stream) if self._stream is not None else nullcontext():
            pooled = None if found.pooled is None else torch.zeros_like(found.pooled)
            tokens = torch.zeros_like(found.tokens)
        if self._stream is not None:
            self._stream.synchronize()
        return Encoded(NOTHING, tokens, pooled, "")


class Prompts:
    """Encoded prompts by text, the least used forgotten first; what is missing is encoded by a thread of its own.

    ``lock`` is held while the encoder works: who captures a graph holds it too.
    """

    def __init__(self, encode: TextEncoder, capacity: int) -> None:
        self._encode, self._capacity = encode, capacity
        self._known: OrderedDict[str, Encoded] = OrderedDict()
        self._wanted: list[str] = []
        self._remarks: list[str] = []
        self._ready = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.lock = threading.Lock()
        self.encoded = 0

    def get(self, text: str) -> Encoded | None:
        """Return a prompt that is ready, or None."""
        with self._ready:
            found = self._known.get(text)
            if found is not None:
                self._known.move_to_end(text)
            return found

    def want(self, texts: Sequence[str]) -> None:
        """Say which texts the newest frame lacks; what earlier ones lacked is forgotten: the newest wins."""
        with self._ready:
            self._wanted = [text for text in texts if text not in self._known]
            if self._wanted:
                self._start()
                self._ready.notify()

    def encode(self, text: str) -> Encoded:
        """Return a prompt, encoded now if it must be."""
        found = self.get(text)
        if found is None:
            with self.lock:
                found = self._encode(text)
            with self._ready:
                self._known[text] = found
                self.encoded += 1
                if found.lost:
                    self._remarks.append(
                        f"a prompt has at most 77 tokens; this end of it does not count: {found.lost!r}"
                    )
                while len(self._known) > self._capacity:
                    self._known.popitem(last=False)
        return found

    def remarks(self) -> list[str]:
        """Return, once, what was cut off."""
        with self._ready:
            told, self._remarks = self._remarks, []
        return told

    def close(self) -> None:
        """Stop the thread."""
        with self._ready:
            self._stopping = True
            self._ready.notify()
        if self._thread is not None:
            self._thread.join(5.0)

    def _start(self) -> None:
        if self._thread is None and not self._stopping:
            self._thread = threading.Thread(target=self._run, name="text-encoder", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._wanted or self._stopping)
                if self._stopping:
                    return
                text = self._wanted.pop(0)
            try:
                self.encode(text)
            except RuntimeError as error:  # out of memory, most likely: the next frame will tell
                with self._ready:
                    self._remarks.append(f"a prompt could not be encoded: {error}")


def blend(tokens: Tensor, weights: Tensor) -> Tensor:
    """Return prompts blended: ``(rows, tokens, width)`` for ``(prompts, tokens, width)`` and ``(rows, prompts)``.

    The weighted mean, each token brought to the weighted mean of the lengths: the mean alone is shorter than what the
    model has seen. A single prompt stays what it is.
    """
    share = weights / weights.sum(-1, keepdim=True).clamp_min(1e-6)
    mean = torch.einsum("rp,ptw->rtw", share, tokens)
    length = torch.einsum("rp,pt->rt", share, torch.linalg.vector_norm(tokens, dim=-1)).unsqueeze(-1)
    return mean * (length / torch.linalg.vector_norm(mean, dim=-1, keepdim=True).clamp_min(1e-6))
