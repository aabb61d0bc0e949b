"""Words that hold a sentence together and say little of what it is about: "which", "be", "it's"."""

from __future__ import annotations

from pathlib import Path

# Words that deny: one stands for another.
DENYING = frozenset({
    "no", "not", "never", "none", "nothing", "nobody", "nor", "neither", "without", "cannot", "can't",
    "won't", "don't", "doesn't", "didn't", "isn't", "aren't", "wasn't", "weren't", "hasn't", "haven't",
    "hadn't", "couldn't", "wouldn't", "shouldn't", "ain't",
})  # fmt: skip
# scikit-learn's list of common English words (BSD licence) without those that tell something, such as "bill",
# and with "yes", "unless" and the like: to import it takes a second.
COMMON = frozenset(Path(__file__).with_name("function_words.txt").read_text("utf-8").split())


def is_function_word(word: str) -> bool:
    """Return whether a word, in lower case, says little: "it", "it's", "never"."""
    first = word.partition("'")[0]
    return word in DENYING or first in DENYING or first in COMMON
