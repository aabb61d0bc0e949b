"""``saeindex doctor``: check the installation and an index."""

from __future__ import annotations

import platform
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex import config
from saeindex.cli.output import Json, Url, console, print_json
from saeindex.errors import SaeIndexError
from saeindex.language.speech import readable
from saeindex.report.numbers import counted

if TYPE_CHECKING:
    from saeindex.index import FeatureIndex
    from saeindex.protocols import Point

SAMPLE = 32
NAMED = 3
# Minimum cosine of a stored and a new vector: bf16 against fp32 gives .9999, another model far less.
MIN_COSINE = 0.999
# The level of all that is evidence, and by how much evidence may differ, in percent.
POSSIBLE, MOST_PERCENT = config.LEVELS_OF["possible"][0], 5
PACKAGES = ("numpy", "torch", "tokenizers", "qdrant-client", "qdrant-edge-py")


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, whether it passed, and its result in words."""

    name: str
    is_well: bool
    seen: str


def doctor(
    index: Annotated[str | None, typer.Argument(help="An index to check, too.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Check this installation and, if given, every record of an index. Exits with 1 if anything is wrong."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    checks = [
        Check("packages", True, f"Python {platform.python_version()}, {versions}"),
        _checked("encoder", _check_encoder),
        _checked("store", _check_store),
        *([] if index is None else _index(index, url)),
    ]
    is_well = all(check.is_well for check in checks)
    if as_json:
        print_json({"well": is_well, "checks": [asdict(check) for check in checks]})
    for check in [] if as_json else checks:
        console().print("[green]ok[/]  " if check.is_well else "[red]BAD[/] ", end="")
        console().print(f"{check.name:<10} {check.seen}", markup=False)
    if not is_well:
        raise typer.Exit(1)


def _named(records: Sequence[str]) -> str:
    more = f" and {len(records) - NAMED:,} more" if len(records) > NAMED else ""
    return ", ".join(repr(one) for one in records[:NAMED]) + more


def _index(name: str, url: str | None) -> list[Check]:
    from saeindex.index import FeatureIndex

    parts = {"counts": _check_counts, "records": _check_records, "codes": _check_codes}
    try:
        with FeatureIndex.open(name, url=url, isolated=url is None) as index:
            return [_checked(part, examine, index) for part, examine in parts.items()]
    except SaeIndexError as error:
        return [Check("index", False, str(error))]


def _checked(name: str, examine: Callable[..., tuple[bool, str]], *given: Any) -> Check:
    try:
        return Check(name, *examine(*given))
    except SaeIndexError as error:
        return Check(name, False, str(error))


def _check_encoder() -> tuple[bool, str]:
    from saeindex.devices import choose_device, choose_dtype
    from saeindex.features import FeatureSpace

    space = FeatureSpace.load(config.DEFAULT_SPACE)
    vector = space.open_encoder().encode_document(["Is anything wrong here?"])
    active = len(space.sae.encode(vector).indices)
    device = choose_device("auto")
    dtype = str(choose_dtype("auto", device)).removeprefix("torch.")
    seen = f"{space.encoder.model} on {device} in {dtype}; space {space.name}: {active} active features"
    return 1 <= active <= space.sae.k, seen


def _check_store() -> tuple[bool, str]:
    import numpy as np

    from saeindex.protocols import Layout, Point, SearchRequest
    from saeindex.stores import create_store, open_store

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "doctor.idx"
        store = create_store(path, Layout({config.DENSE: 2}))
        store.upsert([Point(1, {config.DENSE: np.array([0.6, 0.8], np.float32)})])
        store.close()
        store = open_store(path)
        found = store.search(SearchRequest(np.array([0.6, 0.8], np.float32)))
        store.close()
    is_well = len(found) == 1 and abs((found[0].score or 0) - 1) < 1e-5
    return is_well, "Qdrant Edge writes, reopens and finds"


def _check_counts(index: FeatureIndex) -> tuple[bool, str]:
    found, kept = index.state.store.count(), index.state.manifest.counts.records
    manifest = index.state.manifest
    if found == kept and not (manifest.is_being_written or manifest.is_coding):
        return True, f"{found:,} records"
    seen = f"{found:,} records found, {kept:,} at the end of the last finished write"
    return False, f"{seen}: one was interrupted. Run the same `saeindex index` command again."


def _check_records(index: FeatureIndex) -> tuple[bool, str]:
    """Read every record: each must have its parts, and each document all its records."""
    from saeindex.indexing.points import DOCUMENT_HASH, count_in
    from saeindex.stores.base import pages

    manifest, unfit = index.state.manifest, list[str]()
    documents: Counter[tuple[str, str]] = Counter()
    texts = ("", *manifest.fields) if manifest.sentences != "off" else ()
    for page in pages(index.state.store, None, with_vectors=[config.DENSE]):
        for point in page.points:
            if not _is_whole(point) or not all(_are_spans(point, name) for name in texts):
                unfit.append(str(point.payload.get("record_id", point.id)))
            elif mark := point.payload.get(DOCUMENT_HASH):
                documents[point.payload[config.DOCUMENT], mark] += 1
    if unfit:
        lacking = f"{len(unfit):,} points lack a part of a record: {_named(unfit)}"
        return False, f"{lacking}. Index them again, or delete these points"
    incomplete = list(dict.fromkeys(one for (one, mark), has in documents.items() if has != count_in(mark)))
    if incomplete:
        found_of = f"{counted(len(incomplete), 'document')} not complete: {_named(incomplete)}"
        why = "records of it were deleted, or a write was interrupted"
        return False, f"{found_of}: {why}. `saeindex index` of the text writes all of it again"
    return True, f"all {counted(index.state.store.count(), 'record')} are complete"


def _is_whole(point: Point) -> bool:
    needed = {"record_id", "text", "content_hash", config.CONCEPTS}
    return needed <= point.payload.keys() and config.DENSE in point.vectors


def _check_codes(index: FeatureIndex) -> tuple[bool, str]:
    """Encode some stored records again: vectors, codes, levels and words must come out the same."""
    import numpy as np

    from saeindex.indexing.words import words_of

    language = index.state.manifest.words
    vectors = [config.DENSE, config.SAE, *[config.WORDS] * (language != "off")]
    scrolled = index.state.store.scroll(limit=SAMPLE, with_vectors=vectors).points
    points = [one for one in scrolled if _is_whole(one)]
    if not points:
        return True, "no records yet"
    stored = np.stack([np.asarray(point.vectors[config.DENSE]) for point in points])
    again = index.encoder.encode_document([readable(point.payload["text"]) for point in points])
    lowest = float((stored * again).sum(1).min())
    wrong = sum(map(_differs, points, _coded_again(index, points)))
    words = words_of([point.payload["text"] for point in points], language)
    stored_words = (getattr(point.vectors.get(config.WORDS), "indices", ()) for point in points)
    unlike = sum({*own.indices} != {*kept} for own, kept in zip(words, stored_words, strict=False))
    seen = f"{len(points)} encoded again: lowest cosine {lowest:.5f}, {wrong} with other levels"
    seen += f", {unlike} with other words" if words else ""
    return lowest >= MIN_COSINE and not wrong and not unlike, seen


def _coded_again(index: FeatureIndex, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return the payload of levels and evidence that points should have."""
    import numpy as np

    from saeindex.indexing.points import Coded, codes_of
    from saeindex.indexing.sentences import Sentences, encode_distinct, sentences_in, spans_from

    dense, code = np.zeros((len(points), 0), np.float32), codes_of(points, index.space.n_features)
    sentences = None
    if index.state.manifest.sentences != "off":
        spans = [spans_from(point.payload.get(config.SPANS, ())) for point in points]
        parts = [
            sentences_in(point.payload[config.TEXT], own) for point, own in zip(points, spans, strict=True)
        ]
        texts = [one for own in parts for one in own]
        vectors, rows = encode_distinct(index.encoder, texts)
        sentences = Sentences.of_texts(texts, vectors[rows], spans, is_stored=False)
    coded = Coded.of(index.space, dense, code, sentences)
    return [coded.payload_of(row) for row in range(len(points))]


def _differs(point: Point, again: Mapping[str, Any]) -> bool:
    """Return whether a point has other levels; evidence may differ by a little, as vectors do."""
    stored, made = (Counter(_by_feature(payload)) for payload in (point.payload, again))
    return any(abs(stored[key] - made[key]) > MOST_PERCENT for key in stored | made)


def _by_feature(payload: Mapping[str, Any]) -> dict[tuple[int, int], int]:
    """Return the evidence of concepts in percent above the least, and 100 of each level of other features."""
    from saeindex.features.evidence import LEAST
    from saeindex.indexing.points import mentions_of

    said = {(one.feature, POSSIBLE): round(100 * (one.p - min(LEAST))) for one in mentions_of(payload)}
    named = {feature for feature, _ in said}
    free = (divmod(code, config.LEVEL_STRIDE) for code in payload[config.CONCEPTS])
    return dict.fromkeys((one for one in free if one[0] not in named), 100) | said


def _are_spans(point: Point, field: str) -> bool:
    """Return whether a text has spans, each after the one before it and within the text."""
    text, spans = (point.payload.get(config.suffixed(base, field)) for base in (config.TEXT, config.SPANS))
    if text is None or spans is None:
        return text is spans
    places = [0, *spans, len(text)]
    is_ascending = all(start < end for start, end in zip(spans[::2], spans[1::2], strict=False))
    return len(spans) % 2 == 0 and is_ascending and places == sorted(places)
