"""A taxonomy: the concepts that a space should have, read from CSV, JSON or SKOS."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from saeindex.errors import InvalidInputError, NotFoundError, installed, kind_of
from saeindex.features.labels import MAX_CHARS, is_phrase
from saeindex.files import checked_suffix

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node

# A file, a list, or a mapping from names to definitions.
Concepts: TypeAlias = "str | Path | Iterable[DefinedConcept | str | Mapping[str, Any]] | Mapping[str, Any]"

MAX_BYTES, MAX_CONCEPTS, MAX_TEXT = 2**26, 20_000, 100_000
SKOS_FORMATS = {".ttl": "turtle", ".nt": "nt", ".rdf": "xml"}
FORMATS = (".csv", ".tsv", ".json", ".jsonl", *SKOS_FORMATS)
# What the fields of a concept are called in files; the first name is ours.
NAMES = {
    "name": ("name", "label", "preflabel", "concept", "term"),
    "description": ("description", "definition", "gloss", "scopenote"),
    "words": ("words", "synonyms", "altlabel", "aliases"),
    "examples": ("examples", "example", "members", "texts"),
    "broader": ("broader", "parent"),
}
# Separates several words or examples in a cell of a table.
BETWEEN = "|"
# JSON may hold it, but it is no Unicode text.
HALF_A_PAIR = re.compile("[\ud800-\udfff]")
DO = "Give each concept a name, and a description, words or examples."


@dataclass(frozen=True, slots=True)
class DefinedConcept:
    """A concept that a space should have: its name, and what defines it beside the name.

    ``words`` are other names of it, ``examples`` texts that have it, or definitions of what belongs to it;
    ``broader`` is the name of a more general concept of the same taxonomy. Blank words and examples
    are left out.
    """

    name: str
    description: str = ""
    words: tuple[str, ...] = ()
    examples: tuple[str, ...] = field(default=(), repr=False)
    broader: str | None = None

    def __post_init__(self) -> None:
        """Raise InvalidInputError for a name that cannot be a label, or texts that are none or too long."""
        asked = f"concept {self.name!r:.80}"
        if not isinstance(self.name, str) or not 0 < len(self.name.strip()) <= MAX_CHARS:
            raise InvalidInputError(asked, f"no name of 1 to {MAX_CHARS} characters", DO)
        if not is_phrase(self.name.strip()):
            do = "Give it a short phrase as a name."
            raise InvalidInputError(asked, "not a line with a word in it", do)
        for part in ("words", "examples"):
            if isinstance(getattr(self, part), str):
                raise InvalidInputError(f"{asked}, {part}", "one text", f"Give a list of {part}.")
        for text in (self.description, *self.words, *self.examples, self.broader or ""):
            if not isinstance(text, str):
                raise InvalidInputError(asked, f"{kind_of(text)} where a text is needed", DO)
            if len(text) > MAX_TEXT:
                found = f"a text of {len(text):,} characters"
                raise InvalidInputError(asked, found, f"Use at most {MAX_TEXT:,}.")
            if half := HALF_A_PAIR.search(text):
                at = f"no valid Unicode at character {half.start() + 1} of a text"
                raise InvalidInputError(asked, at, "Correct the text.")
        object.__setattr__(self, "name", self.name.strip())
        object.__setattr__(self, "broader", (self.broader or "").strip() or None)
        for part in ("words", "examples"):
            given = getattr(self, part)
            kept = (text for text in given if any(c.isprintable() and not c.isspace() for c in text))
            object.__setattr__(self, part, tuple(kept))


def read_taxonomy(given: object) -> tuple[DefinedConcept, ...]:
    """Return the concepts of a file, of a list, or of a mapping from names to definitions.

    A definition is a description, a list of examples, or an object with ``description``, ``words``,
    ``examples`` and ``broader``. A file is CSV or TSV with columns of these names, JSON or JSON Lines, or
    SKOS as Turtle, N-Triples or RDF/XML. Common other names, such as ``definition`` or ``parent``, are known.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is of another kind, two concepts have one name, or ``broader`` names none or
            goes round in a circle.
    """
    if isinstance(given, str | Path):
        return _checked(_of_file(Path(given)), str(given))
    if isinstance(given, Mapping):
        return _checked(_made(_defined, _entries(given.items()), "a mapping"), "a mapping")
    if isinstance(given, Iterable):
        return _checked(_made(_of_item, _entries(given), "a list"), "a list")
    do = "Give a file, a list of concepts, or a mapping from names to descriptions or examples."
    raise InvalidInputError(f"concepts {given!r:.80}", kind_of(given), do)


def _checked(concepts: Iterable[DefinedConcept], where: str) -> tuple[DefinedConcept, ...]:
    found = list(islice(concepts, MAX_CONCEPTS + 1))
    if len(found) > MAX_CONCEPTS:
        do = "Give the most important ones."
        raise InvalidInputError(f"the concepts of {where}", f"more than {MAX_CONCEPTS:,}", do)
    if not found:
        raise InvalidInputError(f"the concepts of {where}", "there are none", DO)
    twice = [name for name, times in Counter(one.name.casefold() for one in found).items() if times > 1]
    if twice:
        do = "Give each its own name, such as “other (payment)”."
        raise InvalidInputError(f"the concepts of {where}", f"{twice[0]!r} more than once", do)
    _check_hierarchy({one.name: one.broader for one in found}, where)
    return tuple(found)


def _check_hierarchy(broader: Mapping[str, str | None], where: str) -> None:
    """Raise InvalidInputError where a broader concept is unknown, or is its own narrower one."""
    above = {name: [parent] for name, parent in broader.items() if parent is not None}
    for name, (parent,) in above.items():
        if parent not in broader:
            found = f"{name!r} is below {parent!r}, which is not among them"
            raise InvalidInputError(f"the concepts of {where}", found, "Add it, or leave it out.")
    try:
        TopologicalSorter(above).prepare()
    except CycleError as error:
        circle = f"a circle: {' below '.join(map(repr, reversed(error.args[1])))}"[:400]
        raise InvalidInputError(f"the concepts of {where}", circle, "Cut it.") from None


def _entries(items: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"entry {number}", item) for number, item in enumerate(items, 1))


def _made(
    make: Callable[[Any], DefinedConcept], items: Iterable[tuple[str, Any]], where: str
) -> Iterator[DefinedConcept]:
    """Yield the concept of each item; an error names the item's place."""
    for place, item in items:
        try:
            concept = make(item)
        except InvalidInputError as error:
            raise InvalidInputError(f"{error.asked} ({place} of {where})", error.found, error.do) from None
        yield concept


def _of_item(item: object) -> DefinedConcept:
    if isinstance(item, DefinedConcept):
        return item
    if isinstance(item, str):
        return DefinedConcept(item)
    if isinstance(item, Mapping):
        return _of_fields(item)
    raise InvalidInputError(f"concept {item!r:.80}", kind_of(item), DO)


def _defined(entry: tuple[object, object]) -> DefinedConcept:
    name, value = entry
    if isinstance(value, Mapping):
        return _of_fields({"name": name, **value})
    is_examples = isinstance(value, Sequence) and not isinstance(value, str)
    return _of_fields({"name": name, "examples" if is_examples else "description": value})


def _of_fields(fields: Mapping[Any, Any]) -> DefinedConcept:
    """Return the concept of an object or a row, whatever common names its fields have."""
    known = {str(name).strip().casefold().replace("_", ""): value for name, value in fields.items()}
    read = {ours: next((known[n] for n in names if known.get(n)), None) for ours, names in NAMES.items()}
    name = read["name"]
    several: dict[str, Any] = {
        part: _several(read[part], f"concept {name!r:.80}, {part}") for part in ("words", "examples")
    }
    description = read["description"] or ""
    return DefinedConcept(name if name is not None else "", description, **several, broader=read["broader"])


def _several(value: object, asked: str) -> tuple[Any, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(BETWEEN) if part.strip())
    if value is not None and not isinstance(value, list | tuple):
        raise InvalidInputError(asked, kind_of(value), "Give a list of texts.")
    return tuple(value or ())


# Files ------------------------------------------------------------------------------------------------


def _of_file(path: Path) -> Iterator[DefinedConcept]:
    suffix = checked_suffix(path, FORMATS, "concepts")
    if not path.is_file():
        raise NotFoundError(f"concepts in {str(path)!r}", "there is no such file", "Correct the path.")
    if path.stat().st_size > MAX_BYTES:
        found = f"a file of more than {MAX_BYTES // 2**20} MiB"
        raise InvalidInputError(f"concepts in {str(path)!r}", found, "Leave out what defines no concept.")
    if suffix in SKOS_FORMATS:
        return _of_skos(path, SKOS_FORMATS[suffix])
    try:
        text = path.read_text("utf-8-sig")
        if suffix in (".csv", ".tsv"):
            lines = io.StringIO(text, newline="")  # splitlines() would also break cells at U+2028 and others
            rows = csv.DictReader(lines, delimiter="\t" if suffix == ".tsv" else ",")
            return _made(_of_fields, [(f"line {rows.line_num}", row) for row in rows], repr(str(path)))
        if suffix == ".jsonl":
            numbered = enumerate(text.split("\n"), 1)
            read = [(f"line {number}", json.loads(line)) for number, line in numbered if line.strip()]
            return _made(_of_item, read, repr(str(path)))
        value = json.loads(text)
    except (ValueError, RecursionError, csv.Error) as error:
        found = f"it cannot be read: {error}"
        do = "Write it as UTF-8 CSV or JSON."
        raise InvalidInputError(f"concepts in {str(path)!r}", found, do) from None
    if isinstance(value, Mapping):
        return _made(_defined, _entries(value.items()), repr(str(path)))
    if isinstance(value, list):
        return _made(_of_item, _entries(value), repr(str(path)))
    raise InvalidInputError(f"concepts in {str(path)!r}", kind_of(value), "Give a list, or an object.")


def _of_skos(path: Path, kind: str) -> Iterator[DefinedConcept]:
    """Yield the concepts of a SKOS file; two with one name get that of the broader one in brackets."""
    rdflib = installed("rdflib", f"concepts in {str(path)!r}", "skos")
    graph = rdflib.Graph()
    try:
        graph.parse(data=path.read_bytes(), format=kind)
    except Exception as error:  # parsers raise whatever they like, also SAXParseException and AttributeError
        found = f"it cannot be read: {error}"[:400]
        raise InvalidInputError(f"concepts in {str(path)!r}", found, "Write it as Turtle.") from None
    skos = rdflib.namespace.SKOS
    nodes = sorted(known := set(graph.subjects(rdflib.RDF.type, skos.Concept)))
    above: dict[Node, Node] = {}
    for node in nodes:
        # In the file's order: a graph in memory is made of dictionaries.
        broader = (*graph.objects(node, skos.broader), *graph.subjects(skos.narrower, node))
        if first := next((one for one in broader if one in known), None):
            above[node] = first
    names = _unique_names({node: _preferred(graph, node, skos.prefLabel).strip() for node in nodes}, above)

    def of_node(node: Node) -> DefinedConcept:
        return DefinedConcept(
            names[node],
            _preferred(graph, node, skos.definition) or _preferred(graph, node, skos.scopeNote),
            tuple(sorted(_literals(graph, node, skos.altLabel))),
            tuple(sorted(_literals(graph, node, skos.example))),
            names[above[node]] if node in above else None,
        )

    return _made(of_node, ((str(node), node) for node in nodes), repr(str(path)))


def _unique_names(named: Mapping[Node, str], above: Mapping[Node, Node]) -> dict[Any, str]:
    unnamed = next((node for node, name in named.items() if not name), None)
    if unnamed is not None:
        raise InvalidInputError(f"concept {str(unnamed)!r:.120}", "it has no prefLabel", "Give it one.")
    times = Counter(name.casefold() for name in named.values())
    return {
        node: f"{name} ({named[above[node]]})" if times[name.casefold()] > 1 and node in above else name
        for node, name in named.items()
    }


def _preferred(graph: Graph, node: Node, kind: Any) -> str:
    return next(iter(_literals(graph, node, kind)), "")


def _literals(graph: Graph, node: Node, kind: Any) -> list[str]:
    """Return texts in English, else those without a language, else those in the first language by name."""
    found = [
        ((getattr(one, "language", None) or "").casefold(), str(one)) for one in graph.objects(node, kind)
    ]
    english = sorted(text for language, text in found if language == "en" or language.startswith("en-"))
    first = min((language for language, _ in found), default="")
    return english or sorted(text for language, text in found if language == first)
