"""A second space of an index: features of the tokens of its texts, which an encoder reads anyway.

The activations of a feature at a text's tokens are summed, and weigh as a word does by BM25:

    w = 1.15 t / (t + .15 (.25 + .75 l / L))        t the sum, l of L tokens on average

How rare a feature is, i = ln(1 + (N - n + .5) / (n + .5)) in n of the N texts that the space was fitted on,
stands in the query. So neither a filter nor the collection has a say in a score. (Features of the tokens of a
frozen encoder, summed and ranked so: Latent Terms, arXiv 2605.29384.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from saeindex import files
from saeindex.config import READER, SPACE_FORMAT
from saeindex.errors import InvalidInputError, MismatchError, NotFoundError, kind_of
from saeindex.features.calibration import Calibration
from saeindex.protocols import EncoderIdentity, Point, SparseVector, TextEncoder, TokenReader
from saeindex.sae.autoencoder import SparseAutoencoder
from saeindex.sae.pooling import Pooling, activations_of
from saeindex.types import Part, SparseCode

if TYPE_CHECKING:
    from saeindex.types import FloatArray, Ints

DESCRIPTION, WEIGHTS, LEVELS = "reader.json", "sae.safetensors", "calibration.safetensors"
# Chosen, as the number of features, on questions of a `choose` part.
K1, B, MOST = 0.15, 0.75, 1.15


@dataclass(frozen=True, eq=False)
class ReaderSpace:
    """Turns the tokens of texts into features.

    ``encoder`` gives the tokens, ``most`` is the number of features of a text that are kept, ``length`` the
    mean number of tokens of the texts that ``calibration`` is of; ``report`` has what was measured.
    """

    name: str
    encoder: EncoderIdentity
    sae: SparseAutoencoder
    most: int
    length: float
    calibration: Calibration
    report: dict[str, Any]

    @cached_property
    def fingerprint(self) -> str:
        """The hash of all that the features of a text depend on."""
        parts = [SPACE_FORMAT, self.encoder.signature(), self.sae.digest(), self.most, self.length]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @cached_property
    def rarity(self) -> FloatArray:
        """How much a feature says of a text that has it (n,)."""
        n = self.calibration.density * self.calibration.records
        found = np.log1p((self.calibration.records - n + 0.5) / (n + 0.5))
        return np.asarray(found, np.float32)

    def check_identity(self, encoder: EncoderIdentity) -> None:
        """Raise MismatchError unless it is the encoder that the space was fitted on."""
        if differing := self.encoder.differences(encoder):
            asked = f"reader {self.name!r} of {self.encoder.model!r} with encoder {encoder.model!r}"
            found, do = f"another {', '.join(differing)}", "Fit a reader to this encoder, or leave it out."
            raise MismatchError(asked, found, do)

    def read(self, encoder: TextEncoder, texts: Sequence[str]) -> tuple[FloatArray, SparseCode]:
        """Return the vectors (n, d) of texts, and the weights of their features, of one pass."""
        place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        pooling = Pooling(self.sae, len(place))
        vectors = tokens_of(encoder).read_document([*place], pooling.add)
        rows = np.array([place[text] for text in texts], np.int64)
        return vectors[rows], self.weighed(pooling.codes(), pooling.lengths).take(rows)

    def weighed(self, code: SparseCode, lengths: Ints) -> SparseCode:
        """Return the weights of the strongest features of texts, of summed activations."""
        t, counts = code.values, np.diff(code.indptr)
        relative = np.repeat(0.25 + B * lengths / self.length, counts) if self.length else 1.0
        weights = (MOST * t / (t + K1 * relative)).astype(np.float32)
        owners = np.repeat(np.arange(len(code)), counts)
        order = np.lexsort((-weights * self.rarity[code.indices], owners))
        rank = np.arange(len(order)) - np.repeat(code.indptr[:-1], counts)
        kept = np.sort(order[rank < self.most])
        ends = np.concatenate([[0], np.cumsum(np.bincount(owners[kept], minlength=len(code)))])
        return SparseCode(ends.astype(np.int64), code.indices[kept], weights[kept], code.n_features)

    def asked(self, encoder: TextEncoder, text: str) -> AskedTokens:
        """Return what a query asks for."""
        reader, names = tokens_of(encoder), list[str]()
        tokens = reader.read_query(text)
        active, first, end = activations_of(tokens, self.sae), list[int](), 0
        for place, (start, stop) in enumerate(reader.token_spans(text)[: len(tokens)]):
            if names and start == end and names[-1][-1:].isalnum() and text[start : start + 1].isalnum():
                names[-1] += text[start:stop]  # a word of several tokens
            else:
                names.append(text[start:stop].strip())
                first.append(place)
            end = stop
        total = active.sum(0)
        indices = np.flatnonzero(total)
        weights = total[indices] * self.rarity[indices]
        by_name = np.add.reduceat(active[:, indices], first, axis=0) if first else active[:, indices]
        shares = by_name / np.maximum(total[indices], 1e-9)
        values = (weights / max(1e-9, MOST * float(weights.sum()))).astype(np.float32)
        return AskedTokens(SparseVector(indices.astype(np.int32), values), tuple(names), shares)

    def save(self, target: str | Path) -> Path:
        """Write a folder of safetensors and JSON, in place of the one that is there."""
        with files.replacing_folder(Path(target), durable=True) as draft:
            self.sae.save(draft / WEIGHTS)
            self.calibration.save(draft / LEVELS)
            described = {
                "format_version": SPACE_FORMAT, "name": self.name, "fingerprint": self.fingerprint,
                "encoder": asdict(self.encoder), "most": self.most, "length": self.length,
                "report": self.report,
            }  # fmt: skip
            (draft / DESCRIPTION).write_text(json.dumps(described, indent=2) + "\n")
        return Path(target)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """Read a packaged space by name, or a folder; MismatchError if its files are damaged."""
        from safetensors import SafetensorError

        folder, asked = find_reader(name_or_path), f"reader {name_or_path!r:.80}"
        try:
            known = json.loads((folder / DESCRIPTION).read_text("utf-8"))
            if known.get("format_version") != SPACE_FORMAT:
                found = f"format version {known.get('format_version')}, this saeindex reads {SPACE_FORMAT}"
                raise MismatchError(
                    asked, found, "Install the saeindex version that wrote it, or fit it again."
                )
            space = cls(
                known["name"], EncoderIdentity(**known["encoder"]), SparseAutoencoder.load(folder / WEIGHTS),
                known["most"], known["length"], Calibration.load(folder / LEVELS), known["report"],
            )  # fmt: skip
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            found = f"its files are damaged or missing ({type(error).__name__}: {error})"
            raise MismatchError(asked, found, "Restore the folder, or fit it again.") from error
        if space.fingerprint != known["fingerprint"]:
            raise MismatchError(
                asked, "its files do not fit together", "Restore the folder, or fit it again."
            )
        return space


@dataclass(frozen=True, eq=False)
class AskedTokens:
    """The features that a query asks for.

    The weights ``vector`` of its k features sum to 1 / 1.15, so that no score is above 1; ``shares`` (w, k)
    says how much of each comes from each of its ``words``.
    """

    vector: SparseVector
    words: tuple[str, ...]
    shares: FloatArray

    def parts(self, vector: SparseVector, point: Point) -> list[Part]:
        """Return what each word adds to a point's score by a multiple of these weights, largest first."""
        own = point.vectors.get(READER)
        if not isinstance(own, SparseVector):
            return []
        _, ours, theirs = np.intersect1d(vector.indices, own.indices, assume_unique=True, return_indices=True)
        values = self.shares[:, ours] @ (vector.values[ours] * own.values[theirs])
        found = zip(self.words, values.tolist(), strict=True)
        return sorted((Part("reader", None, *one) for one in found if one[1]), key=lambda part: -part.value)


def tokens_of(encoder: TextEncoder) -> TokenReader:
    """Return an encoder that gives the vectors of tokens; InvalidInputError if it does not."""
    if not isinstance(encoder, TokenReader):
        do = "Use a model of sentence-transformers; services give vectors of texts alone."
        raise InvalidInputError("a reader", f"{kind_of(encoder)}, which gives no tokens", do)
    return encoder


def find_reader(name_or_path: str | Path) -> Path:
    """Return the folder of a packaged reader or a path; NotFoundError lists the packaged ones."""
    folder = Path(name_or_path)
    if (folder / DESCRIPTION).is_file():
        return folder
    packaged = Path(str(resources.files("saeindex"))) / "spaces"
    names = sorted(path.parent.name for path in packaged.glob(f"*/{DESCRIPTION}"))
    if str(name_or_path) in names:
        return packaged / str(name_or_path)
    found, do = (
        f"neither a folder with {DESCRIPTION} nor a packaged reader",
        f"Packaged: {', '.join(names) or 'none'}.",
    )
    raise NotFoundError(f"reader {str(name_or_path)!r:.80}", found, do)
