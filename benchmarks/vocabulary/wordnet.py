"""WordNet's `fit` part: its synsets by lemma, what is below each, and the base forms of words."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property

from benchmarks import data

# Kinds whose words say how a text is meant.
TONES = ("speech act", "feeling", "writing", "message", "attitude", "disposition")
# A kind of thing has so many narrower ones.
MIN_NARROWER, MAX_NARROWER = 8, 400
TOKEN = re.compile(r"[a-z]+(?:['-][a-z]+)*")


class WordNet:
    """The synsets of the `fit` part, by id and by lemma, those below each, and those of each domain."""

    def __init__(self) -> None:
        """Read the synsets."""
        self.synsets = {record.id: record.metadata for record in data.read("oewn", "fit")}
        self.by_lemma: dict[str, list[str]] = defaultdict(list)
        self.below: dict[str, list[str]] = defaultdict(list)
        self.of_domain: dict[str, set[str]] = defaultdict(set)
        for synset, described in self.synsets.items():
            for lemma in described["lemmas"]:
                self.by_lemma[lemma.lower()].append(synset)
            for broader in described["hypernyms"]:
                self.below[broader].append(synset)
            for domain in described["domain"]:
                self.of_domain[domain].add(synset)

    def lemma(self, synset: str) -> str:
        """Return the first lemma of a synset."""
        first: str = self.synsets[synset]["lemmas"][0]
        return first

    def narrower(self, synset: str) -> set[str]:
        """Return the synset and all below it."""
        found, ahead = {synset}, [synset]
        while ahead:
            for child in self.below.get(ahead.pop(), []):
                if child not in found:
                    found.add(child)
                    ahead.append(child)
        return found

    def own_words(self, synsets: set[str]) -> set[str]:
        """Return the words most of whose senses are among these synsets."""
        words = {lemma.lower() for one in synsets for lemma in self.synsets[one]["lemmas"]}
        senses = {word: self.by_lemma[word] for word in words}
        return {word for word, own in senses.items() if sum(one in synsets for one in own) > len(own) / 2}

    @cached_property
    def tones(self) -> set[str]:
        """The synsets that say how a text is meant."""
        tops = [
            one
            for lemma in TONES
            for one in self.by_lemma[lemma]
            if self.synsets[one]["pos"] == "n" and self.synsets[one]["lemmas"][0] == lemma
        ]
        return set().union(*map(self.narrower, tops))

    def is_tone(self, word: str) -> bool:
        """Return whether a sense of a word says how a text is meant."""
        return not self.tones.isdisjoint(self.by_lemma.get(word, []))

    @cached_property
    def kinds(self) -> dict[str, set[str]]:
        """The synsets with enough narrower ones, and these."""
        sizes = {synset: self.narrower(synset) for synset in self.below if synset in self.synsets}
        return {s: below for s, below in sizes.items() if MIN_NARROWER <= len(below) <= MAX_NARROWER}


class Lemmas:
    """The base forms of words, of those that WordNet has."""

    def __init__(self, wordnet: WordNet) -> None:
        """A form that WordNet lacks has no base."""
        self._known = wordnet.by_lemma.keys()
        self._found: dict[str, str | None] = {}

    def base(self, word: str) -> str | None:
        """Return the singular of a noun and the infinitive of a verb: "played" is "play"."""
        from simplemma import lemmatize

        if word not in self._found:
            forms = (lemmatize(word, lang="en").lower(), word)
            self._found[word] = next((form for form in forms if form in self._known), None)
        return self._found[word]

    def in_text(self, text: str) -> set[str]:
        """Return the base forms in a text, and its phrases of two or three words that WordNet has."""
        tokens = TOKEN.findall(text.lower())
        bases = [self.base(token) for token in tokens]
        found = {base for base in bases if base is not None}
        for size in (2, 3):
            for start in range(len(tokens) - size + 1):
                last = bases[start + size - 1] or tokens[start + size - 1]
                phrase = " ".join([*tokens[start : start + size - 1], last])
                if phrase in self._known:
                    found.add(phrase)
        return found
