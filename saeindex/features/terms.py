"""Terms of a collection: the words and phrases that it uses often and that name no concept.

A word is a term if it is not one of general English, of which the named concepts were chosen, and no concept
has it as its name: "asthma" is one beside *lung disease*, which it says as well. A phrase of two telling
words is one if they come together much more often than by chance, by the normalised pointwise mutual
information of their records, and are no part of a longer one.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from functools import cache, partial
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from saeindex.features.lexicon import TOKEN
from saeindex.language.lemmas import base_form

if TYPE_CHECKING:
    from saeindex.types import FloatArray

# Records of a sample that use a term, and their share, at least; letters of a word, and terms, at most.
MIN_RECORDS, MIN_SHARE = 5, 0.005
MIN_LETTERS, MAX_TERMS = 3, 500
# Letters of a word that can make a phrase longer, if it is no telling one: "system", but not "the" and "of".
SAYING = 5
# Normalised mutual information of the words of a phrase. Below it are phrases such as "very easy", "great
# phone" and "health problems"; above it "sound quality" (.29), "civil rights" (.28), "facial features" (.26).
TOGETHER = 0.2
# What has its uses in a longer phrase, to this share, is no term of its own: "xtra" of "zen xtra", "central
# nervous" of "central nervous system".
WITHIN = 0.8
# The share of the words of texts that general English and the concepts have, at least.
ENGLISH = 0.5
# How much the examples of a concept count in its direction, beside its name and its description.
EXAMPLES_WEIGHT = 2.0
# A word, and the space between it and another one if there is nothing else.
_USE = re.compile(rf"({TOKEN.pattern})( (?=[^\W\d_]))?")
WORDS_FILE = Path(__file__).with_name("general_words.txt")


class Term(NamedTuple):
    """What a collection says often: its ``name`` as it is written most, and its embedding ``vector`` (d,).

    ``direction`` (d,) is what sentences are compared with, ``description`` says what it is. ``meant`` is what
    a sentence's nearness to it counts, and the log-odds of its evidence without any; None where only its name
    says it. ``trust`` is the AUROC of the examples that define it, each left out, against records.
    """

    name: str
    vector: FloatArray
    direction: FloatArray
    description: str
    meant: tuple[float, float] | None = None
    trust: float | None = None


def find_terms(
    texts: Sequence[str], covered: Collection[str], names: Collection[str], most: int = MAX_TERMS
) -> list[tuple[str, int]]:
    """Return the terms of a collection, commonest first, at most ``most``; none of another language.

    Each is its name, and the number of records that use it. ``texts`` is a random sample of the collection.
    ``covered`` has the words, in base forms, that say a concept, ``names`` those that name one.
    """
    words, phrases, longer = Counter[str](), Counter[tuple[str, str]](), Counter[tuple[str, str, int, str]]()
    written: dict[str | tuple[str, str], Counter[str]] = defaultdict(Counter)
    known = total = 0
    # What is asked of each word of each text is computed once for a word.
    is_telling = cache(partial(_is_telling, covered=covered))
    is_known = cache(lambda base: base in covered or base in general_words())
    for text in texts:
        uses = _USE.findall(text)
        bases = [base_form(one.lower()) for one, _ in uses]
        own = set(bases)
        words.update(own)
        total += len(own)
        known += sum(map(is_known, own))
        said = set[tuple[str, str]]()
        for place, base in enumerate(bases):
            if not is_telling(base):
                continue
            one, space = uses[place]
            if base not in names:
                written[base][one] += 1
            if space and is_telling(bases[place + 1]):
                said.add(key := (one.lower(), bases[place + 1]))
                written[key][f"{one} {uses[place + 1][0]}"] += 1
                for side, at in enumerate((bases[max(place - 1, 0) : place], bases[place + 2 : place + 3])):
                    if at and (len(at[0]) >= SAYING or is_telling(at[0])):
                        longer[*key, side, at[0]] += 1
        phrases.update(said)
    if known < ENGLISH * total:
        return []
    # The plurals of words that no dictionary has.
    plurals = {base for base in words if base.endswith("s") and words.get(base[:-1], 0) >= MIN_RECORDS}
    least = max(MIN_RECORDS, MIN_SHARE * len(texts))
    parts = {key[:2] for key, count in longer.items() if count >= WITHIN * written[key[:2]].total()}
    kept = {
        phrase: count
        for phrase, count in phrases.items()
        if count >= least
        and phrase not in parts
        and " ".join(phrase) not in names
        and _together(count, words[base_form(phrase[0])], words[phrase[1]], len(texts)) >= TOGETHER
    }
    within = Counter[str]()
    for (first, second), count in kept.items():
        for base in (base_form(first), second):
            within[base] = max(within[base], count)
    single = {
        base: count
        for base, count in words.items()
        if count >= least
        and base not in names
        and base not in plurals
        and _is_telling(base)
        and within[base] < WITHIN * count
    }
    counts: list[tuple[str | tuple[str, str], int]] = [*kept.items(), *single.items()]
    found = sorted(counts, key=lambda one: (-one[1], str(one[0])))
    return [(written[key].most_common(1)[0][0], count) for key, count in found[:most]]


def _is_telling(base: str, covered: Collection[str] = ()) -> bool:
    """Return whether a word is that of a concept, or none of general English; adverbs say little."""
    if base in covered:
        return True
    is_word = len(base) >= MIN_LETTERS and base.replace("-", "").isalpha() and not base.endswith("ly")
    return is_word and base not in general_words()


def _together(both: int, first: int, second: int, records: int) -> float:
    """Return the normalised pointwise mutual information of two words, 1 if they always come together."""
    return log(both * records / (first * second)) / log(records / both) if both < records else 0.0


@cache
def general_words() -> frozenset[str]:
    """Return the words of general English, in base forms: those of half of sixteen kinds of texts."""
    return frozenset(WORDS_FILE.read_text("utf-8").split())
