"""Names of the features of tokens: the words at which they are active, and how well those predict them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from saeindex.features.labels import TOKENS, FeatureLabel, stems
from saeindex.features.trust import Contrast, auroc, first_half
from saeindex.report.numbers import percent
from saeindex.sae.pooling import token_activations
from saeindex.types import SparseCode

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from saeindex.sae.autoencoder import SparseAutoencoder
    from saeindex.types import FloatArray, Ints

# Words of a name, and what each must tell, as a share of what the first does.
WORDS, LEAST = 3, 0.25
# Words that are said of a feature, by the share of its activation.
SAID = 5
BLOCK = 4_096
# Marks that people call otherwise than Unicode does.
CALLED = {
    "-": "hyphen",
    "/": "slash",
    "\\": "backslash",
    "_": "underscore",
    "@": "at sign",
    "#": "hash",
    " ": "space",
    "\n": "line break",
}
UNNAMED = "unnamed"


class TokenWords:
    """The words (t,) that the tokens of texts are of; those of text i from ``ends[i]`` on."""

    def __init__(
        self, texts: Sequence[str], spans: Callable[[str], Sequence[tuple[int, int]]], lengths: Sequence[int]
    ) -> None:
        """``spans`` has the places of a text's tokens, of which ``lengths`` were read."""
        known = dict[str, int]()
        found = [
            known.setdefault(word, len(known))
            for text, length in zip(texts, lengths, strict=True)
            for word in words_of_tokens(text, spans(text)[:length])
        ]
        self.words, self.names = np.array(found, np.int64), [*known]
        self.ends = np.cumsum([0, *lengths])

    def counts(self, texts: int) -> csr_matrix:
        """Return how often texts (m, v) have each word."""
        from scipy.sparse import csr_matrix

        owners = np.repeat(np.arange(texts), np.diff(self.ends))
        shape = texts, len(self.names)
        return csr_matrix((np.ones(len(owners), np.float32), (owners, self.words)), shape=shape)


def words_of_tokens(text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    """Return the word of each token: of several tokens in one word it is the word; of a mark, its name."""
    runs = [(is_word, [*run]) for is_word, run in groupby(enumerate(text), lambda one: one[1].isalnum())]
    word_at = [""] * len(text)
    for is_word, run in runs:
        for place, char in run:
            word_at[place] = text[run[0][0] : run[-1][0] + 1].lower() if is_word else char
    names = (next((word_at[at] for at in range(*span) if not text[at].isspace()), " ") for span in spans)
    return [
        one if one.isalnum() else CALLED.get(one) or unicodedata.name(one, "a sign").lower() for one in names
    ]


def named_by_words(
    sae: SparseAutoencoder, x: FloatArray, words: TokenWords, shown: Ints
) -> list[FeatureLabel]:
    """Return the labels of features of the tokens ``x`` (t, d) of texts, as the ``shown`` ones (m,) tell.

    The words of a name are those that say most of where a feature is active: their share of its activation,
    times the logarithm of how much more often than elsewhere they are there.
    """
    shares, usual = _shares(sae, x, words, shown)
    labels = []
    for columns, own in shares.rows():
        names = [words.names[column] for column in columns.tolist()]
        chosen = _telling(names, own * np.log(np.maximum(own, 1e-9) / usual[columns]))
        most = np.argsort(-own, kind="stable")[:SAID].tolist()
        said = ", ".join(f"{names[place]} ({percent(float(own[place]))})" for place in most)
        name = ", ".join(names[place] for place in chosen) or UNNAMED
        labels.append(FeatureLabel(name, TOKENS, description=f"Active most at: {said}." if said else ""))
    return labels


def measured(
    labels: Sequence[FeatureLabel],
    label_vectors: FloatArray,
    counts: csr_matrix,
    words: Sequence[str],
    vectors: FloatArray,
    contrasts: Iterable[Contrast | None],
    seed: int = 0,
) -> list[FeatureLabel]:
    """Return labels with their trust, the AUROC of what tells texts that have a feature from others.

    That is how many of a name's words a text has, of ``counts`` (m, v), or how near the name is to it by
    ``vectors`` (m, d): what does better on one half of the texts is measured on the other.
    """
    column, by_word = {word: place for place, word in enumerate(words)}, counts.tocsc()
    rng, found = np.random.default_rng(seed), []
    for label, vector, contrast in zip(labels, label_vectors, contrasts, strict=True):
        trust = None
        if contrast is not None:
            own = [column[word] for word in label.text.split(", ") if word in column]
            has = np.asarray(by_word[:, own].sum(1)).ravel()[contrast.texts]
            scores = np.stack([has, vectors[contrast.texts] @ vector], 1)
            is_first = first_half(contrast, rng)
            best = int(auroc(scores[is_first], contrast.is_active[is_first]).argmax())
            trust = float(auroc(scores[~is_first], contrast.is_active[~is_first])[best])
        found.append(replace(label, trust=trust))
    return found


def _telling(names: Sequence[str], worth: FloatArray) -> list[int]:
    """Return the places of the words of a name, the most telling first, with no word twice."""
    found, taken = list[int](), set[str]()
    for place in np.argsort(-worth, kind="stable").tolist():
        if len(found) == WORDS or worth[place] <= (LEAST * worth[found[0]] if found else 0.0):
            break
        if taken.isdisjoint(own := stems(names[place])):
            found.append(place)
            taken |= own
    return found


def _shares(
    sae: SparseAutoencoder, x: FloatArray, words: TokenWords, texts: Ints
) -> tuple[SparseCode, FloatArray]:
    """Return the share of each word in the activation of features (n, v), and in the texts (v,)."""
    import torch
    from scipy.sparse import csr_matrix

    size, total = len(words.names), csr_matrix((sae.n_features, len(words.names)), dtype=np.float64)
    is_shown = np.repeat(np.isin(np.arange(len(words.ends) - 1), texts), np.diff(words.ends))
    places = np.flatnonzero(is_shown)
    with torch.inference_mode():
        for at in range(0, len(places), BLOCK):
            own = places[at : at + BLOCK]
            active = token_activations(torch.from_numpy(np.asarray(x[own], np.float32)), sae)
            tokens, features = (one.numpy() for one in active.nonzero(as_tuple=True))
            values = active.numpy()[tokens, features]
            total += csr_matrix((values, (features, words.words[own][tokens])), shape=total.shape)
    counts = np.bincount(words.words[places], minlength=size) / max(1, len(places))
    sums = np.maximum(np.asarray(total.sum(1)).ravel(), 1e-9)
    total.sort_indices()
    values = total.data / np.repeat(sums, np.diff(total.indptr))
    shares = SparseCode(total.indptr.astype(np.int64), total.indices, values.astype(np.float32), size)
    return shares, np.maximum(counts, 1e-9).astype(np.float32)
