"""Checks of a query before it runs: its texts, whether its parts go together, and what its filter asks for.

A filter is warned of where no record has a field, where values are of another kind, and of what a NOT keeps.
A field is looked up once for each state of an index, by a request that ends at the first record with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from difflib import get_close_matches
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from saeindex.collection.records import metadata_fields
from saeindex.collection.state import IndexState, Memo
from saeindex.concepts.feedback import check_sides
from saeindex.config import MAX_QUERY_CHARS, READER, WORDS
from saeindex.errors import FilterWarning, InvalidInputError, tell
from saeindex.language.ast import And, Compare, Condition, Exists, Expression, Not, OneOf, walk
from saeindex.language.evaluate import clauses, found_at, mismatch
from saeindex.language.fields import METADATA, NAMES, as_one_name, field_at, path_of
from saeindex.language.to_text import quoted, to_text
from saeindex.report.numbers import counted
from saeindex.search.by_field import Curve, Order, boosts, unread_date
from saeindex.search.grouping import check_field
from saeindex.search.query import ALL_PARTS
from saeindex.search.rerank import place_of
from saeindex.search.retrieval import Place
from saeindex.stores.filters import inside

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.search.plan import Estimate
    from saeindex.search.query import Query, Steering
    from saeindex.types import LevelName


def check_query(query: Query) -> None:
    """Raise InvalidInputError unless the parts of a query, each of which is valid, go together."""
    check_sides("search", query.like, query.unlike)
    for text in (query.text, query.described or "", *query.against):
        if len(text) > MAX_QUERY_CHARS:
            asked, found = f"a query of {len(text)} characters", f"the limit is {MAX_QUERY_CHARS}"
            raise InvalidInputError(asked, found, "Shorten it.")
    if query.described is not None and not query.described.strip():
        raise InvalidInputError("search by property", "an empty description", "Describe the property.")
    if query.grouping is not None:
        check_field(query.grouping.field)
    if query.after is not None:
        Place.read(query.after)
        if query.offset or query.diversity or query.grouping is not None:
            found = "offset, diversity or group_by beside it"
            raise InvalidInputError("after", found, "Leave one of them out.")
    for part in query.include:
        if part not in ALL_PARTS and not part.startswith(IN_METADATA):
            do = f"Use {', '.join(ALL_PARTS)}, or fields such as {IN_METADATA}year."
            raise InvalidInputError(f"include {part!r:.80}", "no part of a hit", do)
    _check_combination(query)


def _check_combination(query: Query) -> None:
    ranked = query.is_near or query.property is not None or query.feedback is not None
    ranks = ranked or bool(query.like)
    selects = query.where is not None or query.query_filter is not None or query.order_by is not None
    if not ranks and not selects:
        raise InvalidInputError(
            "search", "an empty text", "Give a text, a property, examples, or a where clause."
        )
    if not ranks and (query.steers or query.unlike or query.against):
        raise InvalidInputError(
            "search", "nothing to steer or to contrast", "Give a text, a property or examples (like)."
        )
    if query.order_by is not None and ranks:
        found = "hits are in the order of their scores"
        raise InvalidInputError("order_by beside what ranks", found, "Leave order_by out, or use boost.")
    if query.boosted is not None and not ranks:
        raise InvalidInputError("boost", "nothing ranks", "Give a text or a property, or use order_by.")
    for option, field in fields_by_option(query).items():
        if field not in NAMES and not field.startswith(IN_METADATA):
            do = f"Use {IN_METADATA}{field.strip():.80}."
            raise InvalidInputError(f"{option}={field!r:.80}", "not a field of the records", do)
    if query.boosted is not None:
        Curve.read(str(query.boosted.half))
    if query.rerank is not None:
        _check_rerank(query)
    has_examples = bool(query.like or query.unlike)
    if query.against and query.property is None and not (query.text.strip() and has_examples):
        do = "Give the property to contrast with them."
        raise InvalidInputError("search against other values", "no description", do)
    if query.feedback is not None and (query.property is not None or query.against or has_examples):
        raise InvalidInputError(
            "search with feedback", "a property or examples beside it", "Use the feedback alone."
        )
    if query.using == READER and query.is_near and not query.text.strip():
        raise InvalidInputError("a vector with using='reader'", "it has no tokens", "Give the text.")
    if query.steering is not None:
        _check_steering(query, query.steering)


def _check_steering(query: Query, steering: Steering) -> None:
    if query.using in (WORDS, READER):
        found = f"{'words' if query.using == WORDS else 'tokens'} have no direction to move along"
        do = "Leave using out, or give a where clause."
        raise InvalidInputError(f"steer with using={query.using!r}", found, do)
    if steering.max_drift is not None and steering.method == "clamp":
        raise InvalidInputError(
            "steer.max_drift with steer.method='clamp'", "decoding itself moves the query", "Use 'built'."
        )


def _check_rerank(query: Query) -> None:
    if isinstance(query.rerank, str):
        place_of(query.rerank)
    if not (query.text.strip() or query.described):
        do = "Give the text that it is to read with each hit."
        raise InvalidInputError("rerank", "neither a text nor a property", do)
    if (wanted := query.offset + query.limit) > query.rerank_limit:
        found = f"rerank_limit={query.rerank_limit:,}, and {wanted:,} hits asked for, with those before"
        raise InvalidInputError("rerank", found, f"Give rerank_limit={wanted}, or ask for fewer.")


def fields_by_option(query: Query) -> dict[str, str]:
    """Return the fields that a query is boosted and ordered by, by the names of these options."""
    found = {} if query.boosted is None else {"boost": field_at(path_of(query.boosted.field))}
    return found | ({} if query.order_by is None else {"order_by": field_at(Order.read(query.order_by).path)})


# Records whose values are looked at where the first is of another kind, and for a value that is near.
LOOKED_AT, SEARCHED = 256, 4_096
# The values of a condition, the first ones, of which it is asked whether some record has them.
ASKED_FOR = 16
# The minimum similarity (difflib) of a suggested field name or value, whose length is limited.
NEAR, LONGEST = 0.6, 80
IN_METADATA = f"{METADATA}."


class FilterChecks:
    """Checks filters against the records of one state."""

    def __init__(
        self,
        state: IndexState,
        compiled: Callable[[Expression], Filter | None],
        estimated: Callable[[Filter | None], Estimate],
        absent: Memo[Any],
    ) -> None:
        """``compiled`` makes a native filter of a condition, ``estimated`` says how many it selects.

        ``absent`` keeps what is said of fields, and their first values.
        """
        self._state, self._compiled, self._estimated, self._absent = state, compiled, estimated, absent

    def warn(self, where: Expression | None, native: Filter | None) -> tuple[str, ...]:
        """Warn of the faults of a condition and a native filter, and return a sentence for each."""
        if not self._state.total:
            return ()
        conditions = [] if where is None else [node for node, _ in walk(where) if isinstance(node, Condition)]
        named = [node for node in conditions if node.field not in NAMES]
        fields = [(node.field, self._compiled(Exists(field=node.field))) for node in named]
        keys = () if native is None else dict.fromkeys(keys_of(native))
        fields += [(key, _having(key)) for key in keys if key not in NAMES]
        found = [absent for key, having in fields if (absent := self._absence(key, having))]
        found += [other for node in named if (other := self._other_kind(node))]
        once = tuple(dict.fromkeys(found))
        for one in once:
            tell(one, FilterWarning)
        return once

    def unheld(self, where: Expression | None) -> Iterator[str]:
        """Yield which texts of a condition no record has in the field, with the nearest that some have."""
        for is_so in islice(_equalities(where), ASKED_FOR):
            known = is_so.field, is_so.value
            if said := self._absent.get(known, partial(self._unheld, is_so)):
                yield said

    def _unheld(self, is_so: Compare) -> str:
        page = self._state.store.scroll(self._compiled(is_so), 1, with_payload=False)
        near = "" if page.points else self.near_value(is_so)
        return f"no record has {to_text(is_so)}{near}" if near else ""

    def of_groups(self, field: str) -> tuple[str, ...]:
        """Return a warning if no record has the field to group by."""
        forms = {field_at(path) for path in (path_of(field), as_one_name(field))}
        is_there = not self._state.total or any(self._values(Exists(field=form), 1) for form in forms)
        return () if is_there else (self._unknown(field),)

    def of_values(self, query: Query) -> Iterator[str]:
        """Yield what is wrong with the values by which a query is boosted or ordered."""
        for option, field in fields_by_option(query).items():
            half = "" if query.boosted is None else f" {query.boosted.half}"
            check = partial(self._of_values, query, option, field)
            if field not in NAMES and (fault := self._absent.get(f"{option} {field}{half}", check)):
                yield fault

    def _of_values(self, query: Query, option: str, field: str) -> str:
        found = self._values(Exists(field=field), LOOKED_AT)
        if not found:
            return self._unknown(field) if self._state.total else ""
        if option == "order_by" and (date := unread_date(found)):
            return f"{field} is in the order of letters: {date!r:.40} is not a date as in 2026-11-02"
        boost = query.boosted if option == "boost" else None
        if boost is not None and not boosts(boost, found):
            return f"{field} boosts nothing with half={boost.half}: it holds {found[0]!r:.40}"
        return ""

    def kept_by_denials(self, where: Expression | None, level: LevelName | None) -> Iterator[str]:
        """Yield a sentence for each NOT of a concept that keeps records with possible evidence of it."""
        for clause in () if where is None else clauses(where):
            leaf = clause.part if isinstance(clause, Not) else None
            if leaf is None or not hasattr(leaf, "level") or (leaf.level or level or "present") != "present":
                continue
            cautious = leaf.model_copy(update={"level": "possible"})
            kept = self._estimated(self._compiled(And(parts=(cautious, clause))))
            if kept.points >= 1:
                instead, about = to_text(Not(part=cautious)), "" if kept.is_certain else "about "
                possibly = f"{about}{counted(round(kept.points), 'record')} with possible evidence of it"
                yield f"{to_text(clause)} keeps {possibly}; {instead} leaves them out"

    def near_field(self, field: str) -> str | None:
        """Return the field of the records whose name is the nearest to ``field``, if one is near."""
        kept = metadata_fields(self._state.store, self._state.total)
        known = {one.field.removeprefix(IN_METADATA).casefold(): one.field for one in reversed(kept)}
        bare = field.replace('"', "").replace("`", "").casefold()
        while bare.startswith(IN_METADATA):
            bare = bare.removeprefix(IN_METADATA)
        near = [bare] if bare in known else get_close_matches(bare, known, n=1, cutoff=NEAR)
        return known[near[0]] if near else None

    def near_value(self, part: Expression) -> str:
        """Return the texts of a field that are nearest to those asked for, as a question; "" if none is."""
        if not isinstance(part, OneOf) and not (isinstance(part, Compare) and part.op == "="):
            return ""
        asked = [
            one for one in (part.values if isinstance(part, OneOf) else [part.value]) if isinstance(one, str)
        ]
        if part.field in NAMES or not asked:
            return ""
        values = self._values(part, SEARCHED)
        each = chain.from_iterable(one if isinstance(one, list) else [one] for one in values)
        texts = (one for one in each if isinstance(one, str) and len(one) <= LONGEST and one not in asked)
        held = {_folded(one): one for one in texts}
        near = [
            quoted(held[one]) for one in dict.fromkeys(chain(*(_near(_folded(one), held) for one in asked)))
        ]
        return f"; did you mean {' or '.join(near)}?" if near else ""

    def _absence(self, field: str, having: Filter | None) -> str:
        def told() -> str:
            page = self._state.store.scroll(having, 1, with_payload=False)
            return "" if page.points else self._unknown(field)

        return str(self._absent.get(field, told))

    def _unknown(self, field: str) -> str:
        near = self.near_field(field)
        return f"no record has {field}" + (f"; did you mean {near}?" if near else "")

    def _other_kind(self, node: Condition) -> str | None:
        """Return what a field holds, if that is of another kind in all records that are looked at."""
        if isinstance(node, Exists) or (isinstance(node, Compare) and node.op == "!="):
            return None
        if mismatch(node, self._values(node, 1)) is None:
            return None
        return mismatch(node, self._values(node, LOOKED_AT))

    def _values(self, node: Condition, count: int) -> list[Any]:
        """Return values of a field, of the first records that have it."""

        def read() -> list[Any]:
            having, path = self._compiled(Exists(field=node.field)), path_of(node.field)
            page = self._state.store.scroll(having, count, with_payload=[path[0]])
            return [found_at(point.payload, path) for point in page.points]

        found: list[Any] = self._absent.get((node.field, count), read)
        return found


def _equalities(where: Expression | None) -> Iterator[Compare]:
    """Yield the texts that a condition compares fields with, each as field = text."""
    for node, _ in () if where is None else walk(where):
        if not isinstance(node, OneOf | Compare) or node.field in NAMES:
            continue
        if isinstance(node, OneOf) or node.op in ("=", "!="):
            for value in node.values if isinstance(node, OneOf) else (node.value,):
                if isinstance(value, str):
                    yield Compare(field=node.field, op="=", value=value)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _near(asked: str, held: Collection[str]) -> list[str]:
    if asked in held or any(map(str.isdigit, asked)):  # RB-20111 is another order than RB-20105
        return [asked] if asked in held else []
    return get_close_matches(asked, held, n=1, cutoff=NEAR)


def _having(key: str) -> Filter:
    from qdrant_client.models import Filter, IsEmptyCondition, PayloadField

    return Filter(must_not=[IsEmptyCondition(is_empty=PayloadField(key=key))])


def keys_of(condition: Any, within: str = "") -> Iterator[str]:
    """Yield the keys of fields that a native filter names, once or more."""
    if (nested := getattr(condition, "nested", None)) is not None:
        yield from keys_of(nested.filter, f"{within}{nested.key}[].")
        return
    for one in inside(condition):
        yield from keys_of(one, within)
    for field in (condition, getattr(condition, "is_empty", None), getattr(condition, "is_null", None)):
        if isinstance(key := getattr(field, "key", None), str):
            yield within + key
