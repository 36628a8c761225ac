"""Whisper on the CPU, by CTranslate2: any folder in its layout, int8, one thread.

Whisper was made for 30 s of sound, and most of its work is to encode them, however short what was said. It takes less,
and does its worst there: without silence behind the words it goes round in circles. Measured (96 sentences of four
synthetic voices, base, int8, CPU seconds a sentence): 5 s of context loop on every fourth, 10 s on 1 %; 15 s with a
little search (beams) are as good as 30 s (8.1 % and 7.5 % of the words wrong) for 0.31 s instead of 0.75. So there are
three :data:`CONTEXTS`. What still goes round, or is an echo of the words that it was told to expect, is decoded again
with the door shut to it; whether anything was said at all, :mod:`vjserver.speech.guards` decide.
"""

import importlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.recognisers.weights import DEFAULT, weights_of
from vjserver.speech.guards import echoes, loops
from vjserver.speech.mel import FRAMES_A_SECOND, RATE_HZ, log_mel
from vjserver.speech.words import ContextName, Hypothesis, Word
from vjserver.types.audio import Float32
from vjserver.types.errors import DeviceError

FULL_FRAMES = 3000
TAIL_S = 0.5


class Context(NamedTuple):
    """Frames (of 10 ms) that are encoded at least, half as many behind the sound; and how many answers are tried."""

    frames: int
    beams: int


CONTEXTS = {"partial": Context(1000, 1), "short": Context(1500, 5), "full": Context(FULL_FRAMES, 5)}
SIGNS_A_SECOND, SIGNS_MORE = 6, 12
MOST_HINTS = 100
SURE = 0.6
"""Less sure of a language than this, the one before is taken: a few words may be of any."""


class WhisperOptions(BaseModel):
    """Which weights, and how much of the processor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(DEFAULT, description="base (any language), tiny.en (English), or a folder of CTranslate2's")
    threads: int = Field(1, ge=1, le=16, description="processor threads that it computes in")


class WhisperRecogniser:
    """Decodes a stretch of sound."""

    Options = WhisperOptions

    def __init__(self, options: WhisperOptions) -> None:
        self._o = options
        self._model: Any = None
        self._language = "en"

    def open(self) -> None:
        """Load the weights: a second or two. Raises DeviceError with the line that brings what is missing."""
        folder = weights_of(self._o.model)
        try:
            self._ct2 = importlib.import_module("ctranslate2")
            tokenizers = importlib.import_module("tokenizers")
        except ImportError as error:
            raise DeviceError(f"speech is not available ({error}); pip install 'vjserver[speech]'") from None
        try:
            load = partial(self._ct2.models.Whisper, str(folder), device="cpu", compute_type="int8", inter_threads=1)
            with ThreadPoolExecutor(1) as own:  # it sets the calling thread's number of OpenMP's threads, torch's too
                self._model = own.submit(load, intra_threads=self._o.threads).result()
            self._signs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # noqa: BLE001 - a library of strangers, given a stranger's files
            raise DeviceError(f"{folder} is no Whisper model in CTranslate2's layout: {error}") from None
        self.multilingual = bool(self._model.is_multilingual)
        self._sot, self._plain, self._prev = (
            self._id(name) for name in ("<|startoftranscript|>", "<|notimestamps|>", "<|startofprev|>")
        )
        self._task = self._id("<|transcribe|>") if self.multilingual else -1

    def _id(self, name: str) -> int:
        number = self._signs.token_to_id(name)
        if number is None:
            raise DeviceError(f"{self._o.model}: its tokenizer knows no {name}; it is none of Whisper's")
        return int(number)

    def languages(self) -> tuple[str, ...]:
        """Return the codes of what it understands."""
        if not self.multilingual:
            return ("en",)
        names = (name for name in self._signs.get_vocab() if name.startswith("<|") and len(name) in (6, 7))
        return tuple(sorted(name[2:-2] for name in names))

    def decode(
        self,
        sound: Float32,
        language: str = "",
        context: ContextName = "short",
        hints: Sequence[str] = (),
    ) -> Hypothesis:
        """Return what is said in mono sound at 16 kHz, at most 29 s of it.

        ``language`` is a code; an empty one is found out. ``hints`` are names and words that are likely to be said.
        Words have times where the context is not ``partial``.
        """
        sound = sound[: 29 * RATE_HZ]
        seconds = len(sound) / RATE_HZ
        mel = log_mel(np.concatenate((sound, np.zeros(round(TAIL_S * RATE_HZ), np.float32))), self._model.n_mels)
        least, beams = CONTEXTS[context]
        frames = min(FULL_FRAMES, max(least, mel.shape[1] + least // 2) // 2 * 2)
        mel = np.pad(mel, ((0, 0), (0, max(0, frames - mel.shape[1]))), constant_values=float(mel.min()))[:, :frames]
        encoded = self._model.encode(self._ct2.StorageView.from_array(np.ascontiguousarray(mel[None])))
        if not self.multilingual:
            language = "en"
        elif not language:
            found, likely = self._model.detect_language(encoded)[0][0]
            self._language = str(found).strip("<|>") if likely >= SURE else self._language
            language = self._language
        most = min(220, int(seconds * SIGNS_A_SECOND) + SIGNS_MORE)
        answer = self._generate(encoded, language, most, beams, hints)
        if hints and echoes(self._text(answer), hints):
            answer = self._generate(encoded, language, most, beams, ())
        signs = answer.sequences_ids[0]
        if len(signs) >= most or loops(self._text(answer), seconds):
            answer = self._generate(encoded, language, most, beams, (), no_repeat_ngram_size=3, repetition_penalty=1.1)
            signs = answer.sequences_ids[0]
        words = self._times(encoded, language, signs, seconds) if context != "partial" else ()
        confidence = float(np.exp(answer.scores[0]))
        return Hypothesis(self._text(answer), language, confidence, float(answer.no_speech_prob), words)

    def _generate(self, encoded: Any, language: str, most: int, beams: int, hints: Sequence[str], **guards: Any) -> Any:
        start = self._start(language)
        if hints:
            told = self._signs.encode(" " + ", ".join(hints), add_special_tokens=False).ids[:MOST_HINTS]
            start = [self._prev, *told, *start]
        return self._model.generate(
            encoded, [[*start, self._plain]], beam_size=beams, max_length=most + len(start) + 1, suppress_blank=True,
            return_scores=True, return_no_speech_prob=True, **guards,
        )[0]  # fmt: skip

    def _start(self, language: str) -> list[int]:
        return [self._sot, self._id(f"<|{language}|>"), self._task] if self.multilingual else [self._sot]

    def _text(self, answer: Any) -> str:
        return str(self._signs.decode(answer.sequences_ids[0])).strip()

    def _times(self, encoded: Any, language: str, signs: list[int], seconds: float) -> tuple[Word, ...]:
        """Return the words with their times, from where the model looked while it wrote each sign (attention)."""
        if not signs:
            return ()
        frames = round((seconds + TAIL_S) * FRAMES_A_SECOND)
        found = self._model.align(encoded, self._start(language), [signs], frames, median_filter_width=7)[0]
        pairs = np.array(found.alignments)
        jumps = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1) > 0)
        starts = np.append(pairs[jumps, 1] / 50.0, pairs[-1, 1] / 50.0)  # a row of the encoder is 20 ms
        words: list[Word] = []
        begin = 0
        for end in range(1, len(signs) + 1):
            piece = self._signs.decode(signs[begin:end])
            after = self._signs.id_to_token(signs[end]) if end < len(signs) else "Ġ"
            if "�" in piece or not (after or "Ġ").startswith("Ġ"):
                continue
            chances = np.array(found.text_token_probs[begin:end])
            last = min(end, len(starts) - 1)
            at = (float(min(starts[min(begin, last)], seconds)), float(min(starts[last], seconds)))
            if piece.strip():
                words.append(Word(piece.strip(), *at, float(chances.mean())))
            begin = end
        return tuple(words)

    def close(self) -> None:
        """Let the weights go; may be called twice."""
        self._model = None
