"""The dictionary of named concepts: the senses of each, its definition, and words that speak of it.

Readers (a language model) chose the senses and wrote the words, from names and definitions alone, by what
``instructions`` says; pairs were judged by the instructions of the suite ``mentions``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

DICTIONARY_FILE = Path(__file__).with_name("dictionary.jsonl")


@dataclass(frozen=True, slots=True)
class Entry:
    """A named concept: the WordNet ``synsets`` that it means, and further ``words`` that speak of it.

    ``former`` is its name in the vocabulary of the autoencoder, and in pairs that were read; none of these
    has it where they were read of another definition. ``shown`` is what people see, where the name alone
    leaves open what is meant; ``is_open`` where no plain name says it. A word of several meanings is the name
    of an entry for each.
    """

    name: str
    gloss: str
    synsets: tuple[str, ...]
    words: tuple[str, ...]
    former: str
    shown: str
    is_open: bool

    @property
    def also(self) -> tuple[str, ...]:
        """The names by which it is found beside the one that is shown."""
        return () if self.shown == self.name else (self.name,)


def read_dictionary() -> list[Entry]:
    """Return the entries: first those of the vocabulary that the autoencoder has, in its order.

    Those by which nobody would filter texts, as a reader thought, are left out.
    """
    lines = map(json.loads, DICTIONARY_FILE.read_text("utf-8").splitlines())
    return [
        Entry(
            one["name"],
            one["gloss"],
            tuple(one["synsets"]),
            tuple(one["words"]),
            one.get("former", one["name"]),
            one.get("shown", one["name"]),
            bool(one.get("open")),
        )
        for one in lines
        if not one.get("vague")
    ]
