"""Words that hold a sentence together and say little of what it is about: "which", "be", "it's"."""

from __future__ import annotations

from functools import lru_cache

# Words that deny: one stands for another.
DENYING = frozenset({
    "no", "not", "never", "none", "nothing", "nobody", "nor", "neither", "without", "cannot", "can't",
    "won't", "don't", "doesn't", "didn't", "isn't", "aren't", "wasn't", "weren't", "hasn't", "haven't",
    "hadn't", "couldn't", "wouldn't", "shouldn't", "ain't",
})  # fmt: skip
# Words that scikit-learn's list of common English words has, though they tell something.
TELLING = frozenset({
    "amount", "back", "bill", "bottom", "call", "cry", "describe", "detail", "empty", "fill", "find", "fire",
    "found", "front", "full", "give", "interest", "made", "mill", "mine", "move", "name", "part", "serious",
    "show", "side", "sincere", "system", "take", "thick", "thin", "top", "well",
})  # fmt: skip
# Those that it has not.
FURTHER = frozenset({
    "did", "does", "doing", "don", "got", "having", "just", "let", "oh", "ought", "shall", "theirs", "unless",
    "yes",
})  # fmt: skip


@lru_cache(100_000)
def is_function_word(word: str) -> bool:
    """Return whether a word, in lower case, says little: "it", "it's", "never"."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    first = word.partition("'")[0]
    says_little = first in ENGLISH_STOP_WORDS and first not in TELLING
    return word in DENYING or first in DENYING or first in FURTHER or says_little
