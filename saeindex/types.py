"""The shared data types as frozen dataclasses: records, sparse codes, queries and explanations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    FloatArray: TypeAlias = NDArray[np.float32]
    IntArray: TypeAlias = NDArray[np.int32]
    Doubles: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]

JsonObject: TypeAlias = Mapping[str, Any]
T = TypeVar("T")
# Characters that terminals obey, or that reverse or hide text.
UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)
PartKind: TypeAlias = Literal[
    "feature", "unnamed", "residual", "bias", "word", "neighbours", "against", "text", "sentence", "boost",
    "reranker", "reader",
]  # fmt: skip
Scale: TypeAlias = Literal["none", "unit", "layer"]
LevelName: TypeAlias = Literal["possible", "present", "typical", "strong"]
Using: TypeAlias = Literal["dense", "sae", "fused", "sentences", "words", "reader"]
Resolve: TypeAlias = Literal["strict", "best"]
SteeringMethod: TypeAlias = Literal["built", "clamp"]
PropertyMethod: TypeAlias = Literal["collection", "interpembed"]


@dataclass(frozen=True, slots=True)
class Record:
    """What is indexed, searched and counted: a text with its metadata, one point of the collection.

    ``fields`` are further texts by name, such as the ``prompt`` of a response. An index that was created
    with a field of that name stores separate vectors and concepts for it. ``document`` names the longer text
    that this is a piece of, if it is one: ``upsert(…, split=200)`` makes such records. ``vector`` (d,) is the
    text's, if it was made before by the encoder of the index.
    """

    id: str
    text: str
    metadata: JsonObject = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    document: str | None = None
    vector: Any = field(default=None, compare=False, repr=False)
    known: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class SparseCode:
    """The sparse codes of a batch of texts, in CSR form.

    ``indptr`` (n + 1,) int64, ``indices`` (nnz,) int32 ascending within a row, ``values`` (nnz,) float32
    and positive. Row i holds the active features of text i.
    """

    indptr: NDArray[np.int64]
    indices: IntArray
    values: FloatArray
    n_features: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def row(self, i: int) -> tuple[IntArray, FloatArray]:
        """Return the feature ids (k,) and activations (k,) of text ``i``."""
        span = slice(int(self.indptr[i]), int(self.indptr[i + 1]))
        return self.indices[span], self.values[span]

    def rows(self) -> Iterator[tuple[IntArray, FloatArray]]:
        """Yield :meth:`row` for every text, in order."""
        return (self.row(i) for i in range(len(self)))

    def take(self, texts: NDArray[np.int64]) -> SparseCode:
        """Return the codes of the texts at these positions, in this order."""
        import numpy as np

        picked = self.to_csr()[texts]
        return SparseCode(
            picked.indptr.astype(np.int64), picked.indices.astype(np.int32), picked.data, self.n_features
        )

    def to_csr(self) -> csr_matrix:
        """Return the batch as a scipy matrix (n, n_features) that shares the arrays."""
        from scipy.sparse import csr_matrix

        return csr_matrix((self.values, self.indices, self.indptr), shape=(len(self), self.n_features))


# Characters of texts of several lines that are shown as they are.
LINES = "\n\t"


def visible(text: str, keep: str = "") -> str:
    """Return a text that is safe on a terminal: control characters are shown, not obeyed.

    These are control and escape characters, those that reverse or hide text, and halves of surrogate pairs;
    characters in ``keep``, such as line ends, stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return UNSAFE.sub(lambda found: found[0] if found[0] in keep else _shown_char(found[0]), text)


def _shown_char(char: str) -> str:
    code = ord(char)
    if code < 0x20 or code == 0x7F:
        return chr(0x2421 if code == 0x7F else 0x2400 + code)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cut(text: str, max_chars: int) -> str:
    """Return the text, cut to ``max_chars`` characters with an ellipsis where it is longer."""
    return text if len(text) <= max_chars else f"{text[: max_chars - 1].rstrip(', ')}…"


def shortened(text: str, max_chars: int) -> str:
    """Return the text as :func:`visible`, :func:`cut`."""
    return cut(visible(text), max_chars)


def one_line(text: str, max_chars: int) -> str:
    """Return the text on one line, :func:`shortened`: each run of white space becomes one space."""
    return shortened(" ".join(text.split()), max_chars)


def shown_label(label: str, is_weak: bool) -> str:
    """Return a label as it is shown everywhere: marked "(weak)" where its trust is below the floor."""
    shown = visible(label)
    return f"{shown} (weak)" if is_weak else shown


@dataclass(frozen=True, slots=True)
class Activation:
    """A feature of one record, with its label: how active it is, and how sure the record speaks of it.

    ``evidence`` is None of a free feature, and where the index keeps no evidence.
    """

    id: int
    label: str
    activation: float
    is_weak: bool = False
    evidence: float | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """The ``sentence`` of a record that speaks most for a named concept, or for a phrase (then without id).

    ``evidence`` is the probability that it speaks of it clearly, ``start`` where it begins in the text, in
    characters. ``word`` is the span in the sentence of the word that names the concept; None where the
    sentence only means it.
    """

    id: int | None
    label: str
    evidence: float
    sentence: str
    start: int
    word: tuple[int, int] | None = None

    def parts(self, max_chars: int) -> tuple[str, str, str]:
        """Return the sentence before its word, the word, and after it: on one line, cut around the word."""
        first, last = self.word or (0, 0)
        whole = self.sentence[:first], self.sentence[first:last], self.sentence[last:]
        before, word, after = (visible(re.sub(r"\s", " ", one)) for one in whole)
        left = max(0, max_chars - len(word))
        if len(before) > left // 2 and len(before) + len(after) > left:
            before = f"…{before[len(before) - left // 2 :]}"
        return before, word, cut(after, max(1, left - len(before)))


@dataclass(frozen=True, slots=True)
class Part:
    """A summand of a score: of a feature, of all unnamed ones, or of the residual or bias of a vector."""

    kind: PartKind
    feature: int | None
    label: str
    value: float
    is_weak: bool = False


@dataclass(frozen=True, slots=True)
class Steer:
    """A signed change of a concept's strength in the query.

    ``target`` is ``"#1041"``, ``"family:NAME"``, ``"profile:NAME"`` or a phrase. A strength of 1.0 adds as
    much of the concept as a typical record that has it; -1.0 subtracts as much. ``against`` names the
    other values of the same field ("happy" and "angry" for the target "sad"); ``like`` and ``unlike`` are
    ids of records that have the concept and that lack it. ``edits`` replaces the weights of features in
    the direction that was built: 0 removes a feature.
    """

    target: str
    strength: float = 1.0
    against: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    edits: Mapping[int, float] = field(default_factory=dict)


def runs(
    items: Iterable[T], weight: Callable[[T], int], most: int, count: int | None = None
) -> Iterator[list[T]]:
    """Yield runs of up to ``count`` consecutive items that weigh at most ``most``; a heavier one is alone."""
    run: list[T] = []
    size = 0
    for item in items:
        own = weight(item)
        if run and (len(run) == count or size + own > most):
            yield run
            run, size = [], 0
        run.append(item)
        size += own
    if run:
        yield run


# Below this, a float is one whole number.
EXACT = 2**53


def whole(value: Any) -> Any:
    """Return 3 for 3.0, as columns with gaps have it: a filter for 3 would not find that. Others stay."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < EXACT
    return int(value) if is_whole else value


def is_larger(value: object, max_depth: int, max_parts: int) -> bool:
    """Return whether JSON is nested deeper, or has more objects and lists in all.

    It needs neither recursion nor memory, so that input can be refused before anything else reads it.
    """
    parts, waiting = 0, [(value, 1)]
    while waiting:
        one, depth = waiting.pop()
        parts += 1
        if depth > max_depth or parts + len(waiting) > max_parts:
            return True
        inner = one.values() if isinstance(one, Mapping) else one if isinstance(one, list | tuple) else ()
        waiting.extend((each, depth + 1) for each in inner if isinstance(each, Mapping | list | tuple))
    return False
