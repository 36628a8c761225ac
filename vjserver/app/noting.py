"""Words that a learner missed: sentences go in, words of the own language are noted."""

import re
from collections.abc import Callable

from vjserver.keeping.notebook import Notebook
from vjserver.keeping.recordings import flac
from vjserver.keeping.words import Word
from vjserver.recognisers.lexicon import Glosses, WordLexicon
from vjserver.speech.switches import switches_of
from vjserver.types.audio import Float32

_SENTENCE = re.compile(r"[^.!?…\n]+[.!?…]*")


class Noting:
    """Notes words of ``own`` in sentences of ``learn``. Raises ConfigError for a pair without data."""

    def __init__(self, notebook: Notebook, learn: str, own: str, say: Callable[[str], None]) -> None:
        self._notebook, self.learn, self.own = notebook, learn, own
        self.lexicon, self._glosses = WordLexicon(learn, own), Glosses(own, learn)
        if not self._glosses.here:
            say(f"no dictionary {self._glosses.name} is installed: meanings stay empty until you write them "
                f"(Debian and Ubuntu: apt install dict-{self._glosses.name})")  # fmt: skip

    def __call__(self, text: str, sound: Float32 | None = None, said: bool = False) -> list[Word]:
        """Note the words of a text, sentence by sentence; return them. ``sound`` is kept with each.

        A sentence that is read once more counts once; one that was ``said`` again counts again.
        """
        found = []
        for sentence in (" ".join(found.split()) for found in _SENTENCE.findall(text) if found.strip()):
            for switch in switches_of(sentence, self.learn, self.own, self.lexicon):
                lemma = " ".join(switch.lemmas)
                place = self.learn, self.own, lemma, switch.words, sentence, self._glosses.find(lemma)
                if sound is None and not said and self._notebook.has(*place[:3], sentence):
                    continue  # this text was read before
                found.append(self._notebook.note(*place, sound=flac(sound) if sound is not None else b""))
        return found
