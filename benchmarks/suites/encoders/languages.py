"""What works in other languages than English: sixty sentences, written in four, each of a named concept."""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.suites.mentions.records import PRESENT
from saeindex import FeatureIndex, FeatureSpace, Record

if TYPE_CHECKING:
    from saeindex.protocols import TextEncoder

SENTENCES = Path(__file__).parent / "parallel.tsv"
FIRST = 2


def languages(space: FeatureSpace, encoder: TextEncoder) -> list[dict[str, float | str]]:
    """Return by language the shares of sentences that are found, and the other concepts of each.

    ``concept``: the record has the concept that its sentence names. ``name`` and ``phrase``: it is among the
    first ten of the concept's name as a query by vectors, and of its English sentence. ``word``: it is found
    among words by its longest one, in Chinese its first two characters.
    """
    with SENTENCES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [{"language": name, **_found(rows, name, space, encoder)} for name in rows[0] if name != "concept"]


def _found(
    rows: list[dict[str, str]], language: str, space: FeatureSpace, encoder: TextEncoder
) -> dict[str, float]:
    assert space.evidence is not None
    texts = [row[language] for row in rows]
    mentions = space.evidence.of_texts(texts, encoder.encode_document(texts), [*range(len(texts) + 1)])
    found, others = list[tuple[bool, ...]](), list[int]()
    with (
        TemporaryDirectory() as folder,
        FeatureIndex.create(Path(folder, "l.idx"), space, encoder=encoder) as index,
    ):
        index.upsert([Record(str(i), text) for i, text in enumerate(texts)])

        def has(i: int, query: str, using: Literal["dense", "words"]) -> bool:
            return str(i) in [hit.id for hit in index.search(query, using=using, limit=10, include=())]

        for i, (row, said) in enumerate(zip(rows, mentions, strict=True)):
            word = texts[i][:FIRST] if language == "chinese" else max(texts[i].split(), key=len)
            concepts = {space.labels[one.feature].text for one in said if one.p >= PRESENT}
            others.append(len(concepts - {row["concept"]}))
            found.append((
                row["concept"] in concepts, has(i, row["concept"], "dense"),
                has(i, row["english"], "dense"), has(i, word, "words"),
            ))  # fmt: skip
    names = ("concept", "name", "phrase", "word")
    shares = dict(zip(names, np.mean(found, axis=0).round(3).tolist(), strict=True))
    return {**shares, "other_concepts": round(float(np.mean(others)), 2)}
