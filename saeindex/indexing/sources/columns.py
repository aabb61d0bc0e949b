"""Selection of the fields of a row that are the text, the id and the metadata; ids that are made."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import Any

from saeindex.config import DOCUMENT
from saeindex.errors import InvalidInputError, InvalidRecordError, NotFoundError, kind_of
from saeindex.indexing.known import Known
from saeindex.indexing.points import checked_field_names
from saeindex.indexing.sources.values import Cell, checked_id, checked_record, checked_text
from saeindex.protocols import Rejected
from saeindex.schema import check_kind, check_options
from saeindex.types import Record

TEXT_NAMES = (
    "text", "content", "body", "selftext", "document", "abstract", "page_content", "passage", "sentence",
    "review", "comment", "description", "title",
)  # fmt: skip
# Fields of chats; how the messages of one with branches, as ChatGPT exports it, are made one row each.
CHATS = ("mapping", "messages", "conversations")
BRANCHES = (
    ".[] | .title as $title | .mapping[].message | select(.content.parts) | {id, conversation: $title, "
    'role: .author.role, time: .create_time, text: ([.content.parts[] | strings] | join("\\n"))}'
    ' | select(.text != "")'
)
METADATA_NAME, FIELDS_NAME = "metadata", "fields"
# Cells that say in a column of numbers or truth values that there is none.
GAPS = frozenset({"n/a", "na", "#n/a", "nan", "null", "none"})
OF_METADATA = METADATA_NAME + "."
# What an index has of a record, in an export; the least numbers of a vector: fewer may be a series.
KNOWN_NAME, VECTOR = "known", 64
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Columns:
    """The fields to read; None means that the field is detected.

    The text is the column "text", else that of the longest texts among those whose names end in a common one
    ("Review Text"). The id is a column called ``id``, ``_id``, ``record_id``, ``uuid`` or ``guid``, else one
    whose name ends in ``id``, ``key``, ``url`` or the like ("Ticket ID"), if it is unique and without gaps.
    Without such a column, or with ``id=""``, ids are made of the name of the ``source`` (by default, that of
    the file) and the row; equal rows are records of their own.

    Without ``metadata`` names, the metadata is the object in a field called ``metadata`` together with all
    other fields except the text and the id (the object has priority); with names, only these, each looked up
    in the row, as a dotted path, and in the ``metadata`` object.

    ``document`` names the column with the document that a row is a piece of; by default, that is a column
    of this name beside the text. ``fields`` are further texts, as names or as ``{name: column}``; their
    columns are not part of the metadata. ``own_fields`` are the further text fields of the index: each is
    read from the column of its name, if there is such a column and ``fields`` has no other.

    ``vector`` names a column with the vectors of the texts, made by the encoder of the index: a sample is
    compared with it. Columns of vectors that are not named are left out, and the report says so.
    """

    text: str | None = None
    id: str | None = None
    metadata: tuple[str, ...] | None = None
    fields: Mapping[str, str] | Sequence[str] = ()
    own_fields: tuple[str, ...] = ()
    document: str | None = None
    source: str | None = None
    vector: str | None = None

    def __post_init__(self) -> None:
        """Raise InvalidInputError for a string as metadata names, which would be read as its letters."""
        for name in ("text", "id", "document", "source", "vector"):
            check_kind(f"column {name}", getattr(self, name), (str, type(None)), "Give the name of a column.")
        if isinstance(self.metadata, str):
            found, do = f"the string {self.metadata!r}", f"Give a tuple: ({self.metadata!r},)."
            raise InvalidInputError("metadata columns", found, do)
        checked_field_names(self.fields if isinstance(self.fields, str) else tuple(self.fields))

    @classmethod
    def read(cls, given: object) -> Columns:
        """Return columns as they are, or those of a mapping such as ``{"text": "review"}``."""
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            do = 'Give a mapping: {"text": "review", "id": "review_id"}.'
            raise InvalidInputError(f"columns={given!r:.80}", kind_of(given), do)
        check_options(cls, given, "columns", ("own_fields",))
        metadata = given.get("metadata")
        return cls(**{**given, "metadata": tuple(metadata) if isinstance(metadata, list) else metadata})

    @property
    def named_fields(self) -> dict[str, str]:
        """The column of each further text in ``fields``."""
        return dict(self.fields) if isinstance(self.fields, Mapping) else {n: n for n in self.fields}

    @property
    def further(self) -> dict[str, str]:
        """The column of each further text, from ``fields`` and ``own_fields``."""
        return {**{name: name for name in self.own_fields}, **self.named_fields}

    def of_index(self, name: str, fields: tuple[str, ...]) -> Columns:
        """Return a copy with the further text fields of an index; InvalidInputError for unknown fields."""
        if unknown := sorted(self.named_fields.keys() - fields):
            found = f"index {name} has {', '.join(fields) or 'none'}"
            do = "Leave it out, or create a new index with it."
            raise InvalidInputError(f"further text field {unknown[0]!r}", found, do)
        return replace(self, own_fields=fields)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of any format, and its position; an iterable may have a record in its place."""

    position: str
    fields: Any


@dataclass(frozen=True, slots=True)
class ColumnPicker:
    """Turns the rows of one source into records; made by :func:`choose_columns`.

    ``likely`` are the columns one of which is the ``id`` if it is unique in the whole source. The cells of
    columns in ``typed`` are numbers or truth values in metadata. The column ``vector`` has the vectors of the
    texts, further ``vectors`` are left out.
    """

    text: str
    id: str | None
    id_is_required: bool
    metadata: tuple[str, ...] | None
    further: Mapping[str, str] = field(default_factory=dict)
    document: str | None = None
    likely: tuple[str, ...] = ()
    typed: frozenset[str] = frozenset()
    vector: str | None = None
    vectors: tuple[str, ...] = ()

    def with_id(self, unique: Sequence[str]) -> ColumnPicker:
        """Return a copy whose id is the first of these columns, if there is one and none is yet."""
        return replace(self, id=self.id or next(iter(unique), None))

    def record(self, row: Row, made: MadeIds) -> Record | Rejected:
        """Return the row's record, or a reject with the reason; ``made`` makes its id if it has none."""
        record_id = None
        fields = typed_cells(row.fields, self.typed) if self.typed else row.fields
        try:
            text = _in_one(_look_up(fields, self.text))
            if text is _ABSENT:
                return Rejected(row.position, f"no field {self.text!r}", self._readable_id(row))
            record_id = self._id(row)
            if record_id is None:
                checked_text(text)
                vectors = {self.vector, *self.vectors}
                record_id = made({name: one for name, one in row.fields.items() if name not in vectors})
            texts, document = self._further(fields), self._document(fields)
            vector = _list_in(_look_up(fields, self.vector)) if self.vector else None
            return checked_record(
                record_id, text, self._metadata(fields), texts, document,
                None if vector is _ABSENT else vector, _known_in(fields),
            )  # fmt: skip
        except InvalidRecordError as error:
            return Rejected(row.position, error.found, record_id or self._readable_id(row))
        except RecursionError:
            return Rejected(row.position, "nested too deeply", record_id)

    def described(self, rows: Sequence[Row], is_table: bool) -> str:
        """Return what is taken as text, id and metadata, if ``rows`` are the first rows.

        Later rows of what is no table may have other fields.
        """
        found = [self._metadata(row.fields) for row in rows]
        others = dict.fromkeys(name for one in found if isinstance(one, dict) for name in one)
        metadata = ", ".join(map(str, others if self.metadata is None else self.metadata)) or "none"
        if self.metadata is None and not is_table:
            metadata = f"all other fields (in the first records: {metadata})"
        further = "".join(f", {name} = {column}" for name, column in self.further.items())
        record_id = self.id or "made of each row"
        return f"text = {self.text}{further}; id = {record_id}; metadata = {metadata}"

    def _id(self, row: Row) -> str | None:
        value = _look_up(row.fields, self.id) if self.id else _ABSENT
        if value is not _ABSENT:
            return checked_id(value)
        if self.id_is_required:
            raise InvalidRecordError(row.position, f"no field {self.id!r}", "Give every row an id.")
        return None

    def _readable_id(self, row: Row) -> str | None:
        try:
            return checked_id(_look_up(row.fields, self.id)) if self.id else None
        except InvalidRecordError:
            return None

    def _document(self, fields: Mapping[str, Any]) -> Any:
        found = _look_up(fields, self.document) if self.document else None
        return None if found is _ABSENT else found

    def _further(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        nested = _object_in(fields.get(FIELDS_NAME))
        inner = nested if isinstance(nested, Mapping) else {}
        found = {name: _look_up(fields, column) for name, column in self.further.items()}
        found = {name: inner.get(name, _ABSENT) if text is _ABSENT else text for name, text in found.items()}
        return {name: text for name, text in found.items() if text is not _ABSENT}

    def _metadata(self, fields: Mapping[str, Any]) -> Any:
        nested = _object_in(fields.get(METADATA_NAME))
        if self.metadata is None and isinstance(nested, list):
            return nested  # which a record refuses
        if self.metadata is None:
            read = {self.text, self.id, self.document, self.vector, *self.vectors, *self.further.values()}
            read |= _exported(fields, self.further)
            merged = {_bare(name): value for name, value in fields.items() if name not in read}
            if isinstance(nested, Mapping):
                del merged[METADATA_NAME]
                merged.update(nested)
            return merged
        chosen: dict[str, Any] = {}
        for name in self.metadata:
            value = _look_up(fields, name)
            if value is _ABSENT and isinstance(nested, Mapping):
                value = _look_up(nested, name)
            if value is not _ABSENT:
                _set_path(chosen, name.removeprefix(OF_METADATA), value)
        return chosen


def choose_columns(
    columns: Columns,
    head: Iterable[Row],
    source: str,
    has_fixed_columns: bool,
    labels: Sequence[str],
    is_whole: bool,
) -> ColumnPicker:
    """Return a picker with the columns chosen from the first rows of a source.

    ``labels`` are columns that were the labels of rows, which are ids if they are unique. ``is_whole`` says
    that the whole source will be looked through for that.

    Raises ``NotFoundError`` if no row of the head has the given text or id field (with
    ``has_fixed_columns``, also the metadata), or none has a text field with a common name.
    """
    rows = list(head)
    present = list(dict.fromkeys(name for row in rows for name in row.fields))
    usual = tuple(name for name in TEXT_NAMES if name not in columns.further.values())
    text = columns.text or _detect_text(usual, rows)
    if columns.text is None and text in {None, "title"}:
        _check_not_nested(source, rows, text)
    if text is None and present:
        wanted, update = f"a text column ({', '.join(TEXT_NAMES[:5])}, …)", "update(each={id: fields})"
        raise _no_such_column(source, wanted, present, f" Of stored records, {update} sets metadata alone.")
    named = [columns.text, columns.id or None, columns.vector]
    named += (columns.metadata or ()) if has_fixed_columns else ()
    for column in columns.named_fields.values():
        if present and all(_look_up(row.fields, column) is _ABSENT for row in rows):
            raise _no_such_column(source, f"a column {column!r}", present)
    for name in named:
        if name is not None and present and not any(_has(row.fields, name) for row in rows):
            raise _no_such_column(source, f"a column {name!r}", present)
    text = text or TEXT_NAMES[0]
    document = columns.document
    if document is None and text != DOCUMENT and DOCUMENT not in columns.further.values():
        document = DOCUMENT
    record_id, likely = columns.id or None, list[str]()
    if columns.id is None:
        taken = {text, columns.document, columns.vector, *columns.further.values()}
        free = [{name: one for name, one in row.fields.items() if name not in taken} for row in rows]
        record_id = _named(free, DECLARED, (str, int, float))
        likely = [] if record_id else likely_ids(free, labels, is_whole)
    vectors = [] if columns.metadata is not None else [*_vectors_in(rows, columns.vector)]
    return ColumnPicker(
        text, record_id, bool(columns.id), columns.metadata, columns.further, document, tuple(likely),
        vector=columns.vector or None, vectors=tuple(vectors),
    )  # fmt: skip


def _vectors_in(rows: Sequence[Row], named: str | None) -> Iterator[str]:
    """Yield the other columns of vectors: lists of as many numbers in each row, some with decimals."""
    lengths: dict[str, set[int]] = {}
    for row in rows:
        exported = _exported(row.fields, {})
        for name, value in row.fields.items():
            if value is not None and name != named and name not in exported:
                lengths.setdefault(name, set()).add(_numbers_in(value))
    yield from (name for name, found in lengths.items() if len(found) == 1 and min(found) >= VECTOR)


def _list_in(value: Any) -> Any:
    """Return the list that a cell of a table is in text, or the value."""
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _numbers_in(value: Any) -> int:
    """Return the length of a list or array of numbers of which some have decimals; 0 of anything else."""
    found = value.tolist() if hasattr(value, "tolist") else _list_in(value)
    if not isinstance(found, list | tuple) or not all(isinstance(one, float | int) for one in found):
        return 0
    return len(found) if any(isinstance(one, float) and not one.is_integer() for one in found) else 0


def typed_cells(fields: Mapping[str, Any], typed: Set[str]) -> dict[str, Any]:
    """Return a row whose cells in ``typed`` columns know their values; what marks a gap there is null."""

    def read(cell: Any) -> Any:
        return None if cell.casefold() in GAPS else Cell(cell)

    return {
        name: read(cell) if name in typed and isinstance(cell, str) else cell for name, cell in fields.items()
    }


def _check_not_nested(source: str, rows: Sequence[Row], text: str | None) -> None:
    """Raise InvalidInputError for rows that have several texts each, such as conversations."""
    for name, value in (own for row in rows for own in row.fields.items()):
        of_chat = name in CHATS and isinstance(value, list | Mapping)
        of_many = isinstance(value, list) and value and isinstance(value[0], Mapping) and "'" not in name
        if of_chat or (text is None and of_many):
            quoted = name if name.isidentifier() else json.dumps(name)
            program = BRANCHES if isinstance(value, Mapping) else f".. | .{quoted}? // empty | .[]"
            do = f"Make a row of each by `jq -c '{program}' {shlex.quote(source)} > messages.jsonl`."
            found = f"each row has several texts, in {name!r}"
            raise InvalidInputError(f"a text column in {source}", found, do)


def _detect_text(names: tuple[str, ...], rows: list[Row]) -> str | None:
    """Return the field "text", else that of the longest texts among those whose names end in a common one.

    One that has the same text in all rows, such as the description of a project, is the last choice.
    """
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, value in row.fields.items():
            if isinstance(value, str | int) and last_word(name) in names:
                found.setdefault(name, []).append(str(value))

    def rank(name: str) -> tuple[bool, bool, float]:
        return name.casefold() == TEXT_NAMES[0], len({*found[name]}) > 1, mean(map(len, found[name]))

    return max(found, key=rank) if found else _named([row.fields for row in rows], names, (str, int))


def _has(fields: Mapping[str, Any], name: str) -> bool:
    nested = fields.get(METADATA_NAME)
    in_nested = isinstance(nested, Mapping) and _look_up(nested, name) is not _ABSENT
    return in_nested or _look_up(fields, name) is not _ABSENT


def _look_up(fields: Mapping[str, Any], path: str) -> Any:
    """Return the value of a field, or of a dotted path if no field has exactly that name."""
    if path in fields:
        return fields[path]
    first, dot, rest = path.partition(".")
    inner = fields.get(first) if dot else None
    return _look_up(inner, rest) if isinstance(inner, Mapping) else _ABSENT


def _in_one(text: Any) -> Any:
    """Return the text of a list of texts and objects with one, as Telegram exports a message with a link."""
    parts = text if isinstance(text, list) else []
    told: list[Any] = [one.get("text") if isinstance(one, Mapping) else one for one in parts]
    is_message = told != parts and all(isinstance(one, str) for one in told)
    return "".join(told) if is_message else text


def _object_in(value: Any) -> Any:
    """Return the object in a JSON text, as exports to Parquet have their metadata; else the value itself."""
    if isinstance(value, str) and value.startswith("{"):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _exported(fields: Mapping[str, Any], further: Mapping[str, str]) -> set[str]:
    """Return the columns of a row that an export has beside texts and metadata, which are no metadata."""
    concepts, code, texts = fields.get("concepts"), fields.get("sae"), _object_in(fields.get(FIELDS_NAME))
    found = {FIELDS_NAME} if isinstance(texts, Mapping) and texts.keys() <= further.keys() else set()
    if isinstance(concepts, list) and all(
        isinstance(one, Mapping) and {"id", "label", "activation"} <= one.keys() for one in concepts
    ):
        found.add("concepts")
    if isinstance(code, Mapping) and code.keys() == {"indices", "values"}:
        found |= {"dense", "sae"}
    if _is_known(fields.get(KNOWN_NAME)):
        found.add(KNOWN_NAME)
    return found


def _is_known(value: Any) -> bool:
    own = _object_in(value)
    return isinstance(own, Mapping) and {"encoder", "content", "vectors", "mentions"} <= own.keys()


def _known_in(fields: Mapping[str, Any]) -> Known | None:
    """Return what an export has of a record; InvalidRecordError where it is not what was written."""
    if not _is_known(given := fields.get(KNOWN_NAME)):
        return None
    try:
        return Known.from_json(_object_in(given))
    except (ValueError, TypeError, KeyError):
        do = "Export it again, or leave the column out."
        raise InvalidRecordError(KNOWN_NAME, "what the index knew of it is damaged", do) from None


def _bare(name: Any) -> Any:
    """Return the name of a metadata field without ``metadata.``, which exports write before it."""
    return name.removeprefix(OF_METADATA) if isinstance(name, str) else name


def _set_path(target: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        inner = target.setdefault(parent, {})
        if not isinstance(inner, dict):
            return
        target = inner
    target[last] = value


def _no_such_column(source: str, wanted: str, present: list[str], or_else: str = "") -> NotFoundError:
    listed = ", ".join(map(str, present[:20])) + (", …" if len(present) > 20 else "")
    named = (
        'Name one of these, or a field inside one ("message.text"): columns={"text": …, "id": …, "metadata": '
        "[…]}, or --text-field, --id-field and --metadata-fields."
    )
    return NotFoundError(
        f"{wanted} in {source}", f"there is none; its columns are: {listed}", named + or_else
    )


# Columns of these names are ids, also where a row lacks one or two have the same: such rows are rejected.
DECLARED = ("id", "_id", "record_id", "uuid", "guid")
# Columns that are ids if they are unique and without gaps: of these names, or of names with these last words.
WHOLE = ("doc_id", "document_id", "docid")
WORDS = ("id", "uuid", "guid", "key", "url", "uri", "link", "permalink")
_WORDS = re.compile(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])")


def words_of(name: object) -> list[str]:
    """Return the words of a column's name in lower case: ``ticket``, ``id`` of ``ticketId``."""
    return [word.casefold() for word in _WORDS.split(str(name)) if word]


def last_word(name: object) -> str:
    """Return the last word of a column's name in lower case."""
    return (words_of(name) or [""])[-1]


def _named(rows: Iterable[Mapping[str, Any]], names: Sequence[str], kinds: tuple[type, ...]) -> str | None:
    """Return the column with the first of the names; those with a value of the ``kinds`` come before."""
    found = {
        (not isinstance(value, kinds), names.index(name.casefold()), name)
        for row in rows
        for name, value in row.items()
        if isinstance(name, str) and name.casefold() in names
    }
    return min(found)[2] if found else None


def likely_ids(rows: Sequence[Mapping[str, Any]], first: Sequence[str], is_whole: bool) -> list[str]:
    """Return the columns that may be the id, the likeliest first, as far as ``rows`` do not rule them out.

    ``first`` are columns that come before all others. Unless the whole table will be looked through
    (``is_whole``), only usual names count.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))

    def rank(name: str) -> int | None:
        if name in first:
            return -2
        if str(name).casefold() in WHOLE:
            return -1
        word = last_word(name)
        return WORDS.index(word) if is_whole and word in WORDS else None

    ranked = sorted((place, at, name) for at, name in enumerate(names) if (place := rank(name)) is not None)
    return unique_columns([name for _, _, name in ranked], rows)


def unique_columns(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return those of the columns in which each row has an id of its own; memory is bounded."""
    seen = {name: SeenIds() for name in names}
    for row in rows:
        if not seen:
            break
        for name in [*seen]:
            try:
                is_new = seen[name].count(checked_id(row.get(name))) == 1
            except InvalidRecordError:
                is_new = False
            if not is_new:
                seen.pop(name).close()
    for one in seen.values():
        one.close()
    return [*seen]


class MadeIds:
    """Makes ids for the rows of one reading of a source that has none.

    An id is made of the source's name, the row and, among equal rows, its number: a row that is inserted
    elsewhere changes no other, and a second reading gives the same ids.
    """

    def __init__(self, source: str) -> None:
        """``source`` is the name of the source: equal rows of two sources are two records."""
        self._source, self._seen = source, SeenIds()

    def close(self) -> None:
        """Forget what was counted."""
        self._seen.close()

    def __call__(self, fields: Mapping[str, Any]) -> str:
        """Return the id of the next row."""
        named = {str(name): value for name, value in fields.items()}
        row = json.dumps([self._source, named], sort_keys=True, default=str)
        digest = hashlib.sha256(row.encode()).hexdigest()[:32]
        if (number := self._seen.count(digest)) > 1:
            digest = hashlib.sha256(f"{digest}:{number}".encode()).hexdigest()[:32]
        return f"sha256:{digest}"


class SeenIds:
    """How often each id came, in a private temporary database."""

    def __init__(self) -> None:
        """Open the database; sqlite removes it when it is closed, or when the process dies."""
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE seen (id BLOB PRIMARY KEY, times INTEGER) WITHOUT ROWID")

    def count(self, record_id: str) -> int:
        """Add an id, and return how often it was added."""
        counted = "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1"
        self._database.execute(counted, (digest := short_id(record_id),))
        row = self._database.execute("SELECT times FROM seen WHERE id = ?", (digest,)).fetchone()
        return int(row[0])

    def close(self) -> None:
        """Forget all."""
        self._database.close()


def short_id(record_id: str) -> bytes:
    """Return a digest of an id, of 16 bytes."""
    return hashlib.blake2b(record_id.encode(), digest_size=16).digest()
