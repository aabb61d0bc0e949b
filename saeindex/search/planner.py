"""Planning: check the query, resolve concepts, steer, infer a property, compile the filter."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.collection.field_facets import FieldColumns
from saeindex.collection.records import ids_that_say
from saeindex.collection.state import IndexState, Memo
from saeindex.concepts.feedback import Feedback
from saeindex.concepts.resolver import KEPT_SCANS, Concept, Resolver, said_by
from saeindex.config import CONCEPTS, DENSE, FUSED, READER, SAE, SENTENCES, WORDS
from saeindex.devices import one_blas_thread
from saeindex.errors import FilterWarning, InvalidInputError, UnknownConceptError, copy_command, tell
from saeindex.features.evidence import level_codes
from saeindex.features.reader_space import reader_beside
from saeindex.indexing.points import LEAST_POSSIBLE, PRESENT
from saeindex.language.ast import (
    And,
    ConceptTerm,
    Condition,
    Expression,
    FeatureTerm,
    Holds,
    Phrase,
    Says,
    TextTerm,
    walk,
)
from saeindex.language.evaluate import found_at, matches, predicate
from saeindex.language.exclusions import Interpreted
from saeindex.language.fields import METADATA, NAMES, path_of
from saeindex.language.literal import is_plain
from saeindex.language.to_filter import FeaturesOf, FoundRecords, compile_where, level_of, target_of
from saeindex.language.to_text import to_text
from saeindex.protocols import PointId, SearchRequest, SparseVector
from saeindex.search.by_field import Order
from saeindex.search.checks import FilterChecks, check_query
from saeindex.search.grouping import WHOLE
from saeindex.search.plan import SAMPLED, Estimate, choose, estimated
from saeindex.search.prepared import AskedConcepts, Prepared
from saeindex.search.property import PropertyRanking, infer_feedback, interpembed_code
from saeindex.search.query import Query, Steering
from saeindex.search.retrieval import Place
from saeindex.search.words import Absent, AskedWords, absent_words, asked_words
from saeindex.steering import steering
from saeindex.steering.saved_profile import profile_direction
from saeindex.steering.steering import ResolvedSteer, SteerResolver
from saeindex.stores.base import PAGE, first_points, pages
from saeindex.stores.filters import as_filter
from saeindex.types import Resolve, Steer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from qdrant_client.models import Filter

    from saeindex.concepts.inference import Scorer
    from saeindex.concepts.scan import Scan
    from saeindex.features.reader_space import AskedTokens
    from saeindex.types import FloatArray, JsonObject, LevelName

# The number of sampled points near a query, from which the share of matches there is estimated.
NEAREST_SAMPLED = 64
# The number of cached property inferences.
KEPT, KEPT_ESTIMATES, KEPT_ORDERS = 64, 512, 8
# The strength of the steer away from what a question leaves out, of .5 to 1. Where it does not surely leave
# something out, a text must be so near to the rest. Both are chosen on the half of the questions of
# `exclusions` that was seen: .48 at least where something is left out, .44 at most where nothing is.
LEFT_OUT, ON_IT = 0.75, 0.45


class _OfTexts:
    """What plans keep while no text changes: what concepts are, what texts say, how many do, properties."""

    def __init__(self, state: IndexState) -> None:
        self.scorers: Memo[Scorer] = Memo(KEPT)
        self.said: Memo[SaidBy] = Memo(KEPT)
        self.estimates: Memo[Estimate] = Memo(KEPT_ESTIMATES)
        self.asked: Memo[AskedTokens] = Memo(KEPT)
        self.resolver = Resolver(state)


class Planner:
    """Makes plans for one state of an index."""

    reads_metadata = True

    def __init__(self, state: IndexState) -> None:
        """Plan for the records of a state."""
        self.state = state
        self._estimates: Memo[Estimate] = Memo(KEPT_ESTIMATES)
        self._absent: Memo[Any] = Memo(KEPT)
        self._orders: Memo[list[PointId]] = Memo(KEPT_ORDERS)
        known = state.derived(_OfTexts)
        self._scorers, self._said, self.resolver = known.scorers, known.said, known.resolver
        self._of_texts, self._asked = known.estimates, known.asked
        self.steering = SteerResolver(state, self.resolver, partial(profile_direction, state))

    @property
    def checks(self) -> FilterChecks:
        """Checks of filters; not kept, because they refer to this planner."""
        return FilterChecks(self.state, self.compile, self._estimate, self._absent)

    def plan(self, query: Query) -> Prepared:
        """Return the prepared ``query``; raises on bad input and on unknown concepts."""
        query = query.read
        check_query(query)
        replaced: tuple[Absent, ...] = ()
        if query.spelling and self.state.manifest.words != "off":
            said = [] if query.clause is None else _said(_parsed(query.clause))
            absent = absent_words(self.state, asked_words(self.state, query.text), True, said)
            replaced, text = tuple(one for one in absent if one.nearest), query.text
            for one in replaced:
                text = re.sub(rf"(?<!\w){re.escape(one.word)}(?!\w)", str(one.nearest), text)
            query = replace(query, text=text, spelling=False)
        read, unwanted = self._interpreted(query) if query.interpret else (query, "")
        return replace(self._plan(read, replaced), unwanted=unwanted)

    def _interpreted(self, query: Query) -> tuple[Query, str]:
        """Return a query that is steered away from what its text leaves out, and that, or "" if nothing."""
        found = Interpreted.of(query.text)
        if not found.unwanted or query.using == WORDS:
            return query, ""
        if not found.is_sure and not self._has_texts_on(found.wanted):
            return query, ""
        read, steer = replace(query, text=found.wanted, interpret=False), Steer(found.unwanted, -LEFT_OUT)
        try:
            self.steering.resolve(steer)
        except UnknownConceptError:  # no text speaks of it
            return read, found.unwanted
        steers = replace(query.steering or Steering(()), steers=(*query.steers, steer))
        return replace(read, steer=steers), found.unwanted

    def _has_texts_on(self, wanted: str) -> bool:
        """Return whether some text is near to what is wanted."""
        nearest = SearchRequest(self.state.encode(wanted), limit=1, with_payload=False)
        return any((point.score or 0.0) >= ON_IT for point in self.state.store.search(nearest))

    def _plan(self, query: Query, replaced: Sequence[Absent]) -> Prepared:
        if query.using == SENTENCES and self.state.manifest.sentences != "stored":
            do = f"Leave it out, or run {copy_command(self.state.store.name)} with --sentences stored."
            raise InvalidInputError("using='sentences'", "the index keeps no vectors of sentences", do)
        if query.using == WORDS and self.state.manifest.words == "off":
            do = f"Leave it out, or run {copy_command(self.state.store.name)}: the copy has words."
            raise InvalidInputError("using='words'", "the index keeps no words", do)
        if query.using == READER and self.state.space.reader is None:
            do = f"Leave it out, or run {copy_command(self.state.store.name)} with --reader."
            raise InvalidInputError("using='reader'", "the index has no reader", do)
        if query.is_interpembed:
            query = replace(query, using="sae")
        where = None if query.clause is None else _parsed(query.clause)
        concepts: dict[str, Concept] = {}
        scans: dict[str, Scan] = {}
        features_of = self.features_of(concepts, query.resolve, scans)
        query_filter = self._compiled(where, query.native, features_of, query.level)
        feedback = feedback_of(query)
        vector, asked = self._vectors(query, feedback)
        moved = vector if query.is_near or asked is None else asked
        steers = self._steers(query, moved)
        steered = self._steered(moved, steers, query)
        is_text = query.is_near
        # With examples only, the text is the description of the property, and steering moves it.
        is_described = feedback is not None and query.property is None and query.feedback is None
        asked = steered if asked is not None and (is_described or not is_text) else asked
        rescorer = self._rescorer(query, feedback, asked, steered if is_text else None)
        total, estimate = self.state.total, self._estimate(query_filter)
        warnings = [*self.checks.warn(where, query.native)]
        warnings += self._of_filter(query, where, query_filter, estimate)
        store = self.state.store
        words = self._words(query, steers) if rescorer is None else None
        begun = [one for one in _said(where) if one.endswith("*")]
        absent = () if words is None else absent_words(self.state, words, False, begun)
        return Prepared(
            query=query,
            vector=steered,
            where=where,
            concepts=tuple(concepts.values()),
            steers=steers,
            query_filter=query_filter,
            drift=steering.drift_of(moved, steered),
            total=total,
            estimate=estimate,
            choices=choose(
                query,
                estimate,
                total,
                store.has_graph,
                rescorer is not None,
                words is not None and bool(words.rarity),
                store.prefers_postfilter,
                set(self.fields_of(where)) <= store.layout.payload_indexes.keys(),
                partial(self._near, query_filter, steered),
            ),
            warnings=(*warnings, *self._cut(query.text), *_unsure(concepts.values())),
            matching=total if query_filter is None else None,
            revision=self.state.revision,
            code=self._code(query, steered, steers),
            words=words,
            read=self._read(query) if rescorer is None else None,
            absent=(*replaced, *absent),
            sources=self._sources(query),
            ids=self._ordered(query, query_filter),
            rescorer=rescorer,
            about=self._about(query, where, features_of, steers, vector, rescorer),
            features_of=features_of,
            scans=tuple(scans.values()),
        )

    def _about(
        self,
        query: Query,
        where: Expression | None,
        features_of: FeaturesOf,
        steers: Sequence[ResolvedSteer],
        vector: FloatArray,
        rescorer: PropertyRanking | None,
    ) -> AskedConcepts:
        """Return the named concepts that a query is about, of its filter, steers, text and property."""
        evidence = self.state.space.evidence
        if evidence is None or not self.state.spoken:
            return AskedConcepts()
        terms = [node for node, _ in walk(where) if isinstance(node, ConceptTerm)] if where else []

        def features(node: ConceptTerm) -> Sequence[int]:
            return () if isinstance(found := features_of(node), FoundRecords) else found

        doubted = [node for node in terms if (node.level or query.level) == "possible"]
        moving = (steer.direction for steer in steers if steer.strength)
        asked = {feature for node in terms for feature in features(node)}
        asked |= {match.id for direction in moving for match in direction.features}
        about = set(asked)
        if query.text.strip():
            with one_blas_thread():
                spoken = evidence.of_sentences([query.text], vector[None])
            about |= set(evidence.features[spoken.concepts].tolist())
        if rescorer is not None:
            about |= {one.id for one in rescorer.shown.concepts if one.weight > 0 and not one.is_weak}
        least = {feature: LEAST_POSSIBLE for node in doubted for feature in features(node)}
        return AskedConcepts(frozenset(asked), dict.fromkeys(about, PRESENT) | least)

    def _cut(self, text: str) -> tuple[str, ...]:
        """Return a warning on a text that is longer than the encoder reads."""
        encoder = self.state.encoder
        if len(text) <= encoder.max_tokens or (count := len(encoder.token_spans(text))) <= encoder.max_tokens:
            return ()
        return (f"the encoder reads the first {encoder.max_tokens} of the {count:,} tokens of the text",)

    def _steers(self, query: Query, moved: FloatArray) -> tuple[ResolvedSteer, ...]:
        """Return the query's steers, with strengths within its ``max_drift``."""
        if query.steering is None:
            return ()
        method, most = query.steering.method, query.steering.max_drift
        steers = tuple(self.steering.resolve(steer, method) for steer in query.steers)
        if steers and not moved.any():
            raise InvalidInputError(
                "steer", "only examples, which steering does not move", "Give a text or a property."
            )
        return steers if most is None or not steers else steering.within(moved, steers, most)

    def _estimate(self, query_filter: Filter | None) -> Estimate:
        """Return how many records a filter selects."""
        total = self.state.total
        if query_filter is None:
            return Estimate(total, total, total, "no filter")
        key = query_filter.model_dump_json(exclude_none=True)
        ids = partial(self.state.derived, _sampled_ids)
        known = self._estimates if METADATA in key else self._of_texts
        return known.get(key, lambda: estimated(self.state.store, query_filter, ids(), total))

    def _of_filter(
        self, query: Query, where: Expression | None, query_filter: Filter | None, estimate: Estimate
    ) -> Iterator[str]:
        """Yield warnings on what a query selects and groups by."""
        is_rare = self.state.total and estimate.points < 0.5
        if is_rare and (estimate.is_certain or not self._is_any(query_filter)):
            yield "no point matches"
            yield from self._emptying(where, query)
        else:
            yield from self.checks.unheld(where)
        yield from self.checks.kept_by_denials(where, query.level)
        if query.grouping is not None and query.grouping.field not in (*WHOLE, *NAMES):
            yield from self.checks.of_groups(query.grouping.field)
        yield from self.checks.of_values(query)

    def _is_any(self, query_filter: Filter | None) -> bool:
        return bool(self.state.store.scroll(query_filter, 1, with_payload=False).points)

    def _emptying(self, where: Expression | None, query: Query) -> Iterator[str]:
        """Yield what no record fulfils: parts of a condition, or all of it where a value is near."""
        features_of = self.features_of({}, query.resolve)
        for part in where.parts if isinstance(where, And) else () if where is None else (where,):
            near = self.checks.near_value(part)
            if part is where and not near:
                continue
            if not self._is_any(self._compiled(part, None, features_of, query.level)):
                yield f"no record fulfils {to_text(part)}{near}"

    def _near(self, query_filter: Filter | None, vector: FloatArray) -> float | None:
        """Return the share of the sampled points nearest to ``vector`` that are selected."""
        if query_filter is None:
            return None
        rows = self.state.sample().rows
        nearness = rows.x @ vector
        nearest = np.argpartition(-nearness, min(NEAREST_SAMPLED, len(nearness)) - 1)[:NEAREST_SAMPLED]
        found = self.state.store.count(query_filter, [rows.ids[row] for row in nearest.tolist()])
        return found / max(1, len(nearest))

    def compile(self, where: Expression | None, query_filter: Filter | None = None) -> Filter | None:
        """Return where AND query_filter as one native filter."""
        return self._compiled(where, query_filter, self.features_of({}), None)

    def _compiled(
        self,
        where: Expression | None,
        native: Filter | None,
        features_of: FeaturesOf,
        level: LevelName | None,
    ) -> Filter | None:
        return compile_where(where, features_of, level, native, partial(_points_that, self.state))

    def read_for(self, where: str | Expression | JsonObject) -> Iterator[tuple[str, LevelName, Scan]]:
        """Yield the phrases of a condition that are no concepts, their levels, and what was read for them."""
        scans: dict[str, Scan] = {}
        features_of = self.features_of({}, scans=scans)
        for node, _ in walk(_parsed(where)):
            if isinstance(node, Phrase) and isinstance(features_of(node), FoundRecords):
                yield node.text, level_of(node, None), scans[target_of(node)]

    @staticmethod
    def fields_of(where: str | Expression | JsonObject | None) -> tuple[str, ...]:
        """Return the metadata fields that a condition names, once each."""
        nodes = () if where is None else (node for node, _ in walk(_parsed(where)))
        named = (one.field for one in nodes if isinstance(one, Condition) and one.field not in NAMES)
        return tuple(dict.fromkeys(named))

    def condition(
        self, where: str | Expression | JsonObject | None, query_filter: Filter | JsonObject | None = None
    ) -> Filter | None:
        """Return a where text AND query_filter as one native filter."""
        expression, native = None if where is None else _parsed(where), as_filter(query_filter)
        self.checks.warn(expression, native)
        for one in self.checks.unheld(expression):
            tell(one, FilterWarning)
        return self.compile(expression, native)

    def is_spoken(self, text: str, condition: str) -> bool:
        """Return whether a text speaks of what a condition asks for, which has only concepts."""
        asked, expression = f"only_if={condition!r:.80}", _parsed(condition)
        evidence, terms = self.state.space.evidence, [node for node, _ in walk(expression)]
        if evidence is None or any(isinstance(node, Condition) for node in terms):
            found = "a question has no fields" if evidence is not None else "the space has no named concepts"
            raise InvalidInputError(asked, found, "Name concepts.")
        for node in terms:
            if isinstance(node, Phrase):
                self.resolver.check_name(node.text)
        with one_blas_thread():
            said = level_codes(evidence.of_texts([text], self.state.encode(text)[None], [0, 1])).tolist()
        return matches(expression, {CONCEPTS: said}, self.features_of({}, "strict"))

    def features_of(
        self,
        concepts: dict[str, Concept],
        resolve: Resolve = "best",
        scans: dict[str, Scan] | None = None,
    ) -> FeaturesOf:
        """Return the resolver of concepts in a where expression; it adds phrases to ``concepts``.

        And what was read for those that no concept is to ``scans``: once, however many there are.
        """
        read = {} if scans is None else scans

        def found(node: TextTerm) -> Sequence[int] | FoundRecords:
            if isinstance(node, Says):
                return self._said.get(node.text, lambda: SaidBy(self.state, node.text))
            if isinstance(node, FeatureTerm):
                self.state.space.check_concepts(f"feature #{node.feature}")
                self.state.space.label(node.feature)
                return [node.feature]
            target = target_of(node)
            if target not in concepts:
                concepts[target] = self.resolver.resolve(target, resolve)
                if concepts[target].records is not None:
                    read[target] = self.resolver.scan(target)
            if len(read) > KEPT_SCANS:
                many = f"more than {KEPT_SCANS} phrases that are the names of no concept"
                raise InvalidInputError("a condition", many, "Use names of concepts, or several conditions.")
            if target in read:
                return read[target]
            return [match.id for match in concepts[target].features]

        return found

    def _vectors(self, query: Query, feedback: Feedback | None) -> tuple[FloatArray, FloatArray | None]:
        """Return the vectors of the text (zeros if there is none) and of the property."""
        description = None if feedback is None else feedback.description
        asked = None if description is None else self.state.encode(description)
        if query.is_near:
            found, wanted = query.encoded(self.state.encode), self.state.space.sae.dimension
            if len(found) != wanted or not found.any():
                given = "zero" if len(found) == wanted else f"{len(found):,} numbers, not {wanted:,}"
                raise InvalidInputError("vector", given, "Give one of the encoder of the index.")
            return found, asked
        return np.zeros(self.state.space.sae.dimension, np.float32), asked

    def _steered(self, vector: FloatArray, steers: Sequence[ResolvedSteer], query: Query) -> FloatArray:
        if query.steering is not None and query.steering.method == "clamp":
            return steering.clamp(vector, steers, self.state.space)
        return steering.apply(vector, steers)

    def _code(
        self, query: Query, steered: FloatArray, steers: Sequence[ResolvedSteer]
    ) -> SparseVector | None:
        if query.is_interpembed and query.described is not None:
            return interpembed_code(self.state.encode(query.described), self.state.space)
        if query.using != SAE or not any(steer.strength for steer in steers):
            return None
        return steering.steered_code(steered, steers, self.state.space)

    def _sources(self, query: Query) -> tuple[str, ...]:
        """Return what ranks: of a fused search all that the index has."""
        known = self.state.manifest
        has = {DENSE: True, WORDS: known.words != "off", SENTENCES: known.sentences == "stored"}
        among = {FUSED: (DENSE, WORDS, SENTENCES), SENTENCES: (DENSE, SENTENCES)}
        return tuple(one for one in among.get(query.using, (query.using,)) if has.get(one, True))

    def _words(self, query: Query, steers: Sequence[ResolvedSteer]) -> AskedWords | None:
        """Return the words that rank, without those that name what the query is moved away from."""
        if WORDS not in self._sources(query):
            return None
        left = [one.direction for one in steers if one.strength < 0]
        named = (match.label for direction in left for match in direction.features)
        known = () if query.after is None else Place.read(query.after).counted
        return asked_words(self.state, query.text, (*(one.target for one in left), *named), known)

    def _read(self, query: Query) -> AskedTokens | None:
        """Return what the tokens of a text ask for, if these rank."""
        if READER not in self._sources(query) or not query.text.strip():
            return None
        reader, encoder = reader_beside(self.state.space), self.state.encoder
        assert reader is not None  # noqa: S101
        return self._asked.get(query.text, lambda: reader.asked(encoder, query.text))

    def _ordered(self, query: Query, query_filter: Filter | None) -> Callable[[], list[PointId]] | None:
        """Return what finds the ids of all matches in the order that is asked for; they are kept."""
        if query.order_by is None:
            return None
        order = Order.read(query.order_by)
        key = f"{order} {query_filter and query_filter.model_dump_json(exclude_none=True)}"
        return lambda: self._orders.get(key, lambda: order.ids(self.state.store, query_filter))

    def _rescorer(
        self,
        query: Query,
        feedback: Feedback | None,
        asked: FloatArray | None,
        text: FloatArray | None,
    ) -> PropertyRanking | None:
        if feedback is None or query.is_interpembed:
            return None
        is_named = query.property is not None or query.feedback is not None
        key = (feedback.model_dump_json(), None if asked is None else asked.tobytes())

        def inferred() -> Scorer:
            self.resolver.check_words(feedback.description or "")
            named = said_by(self.resolver.named(feedback.description or ""))
            return infer_feedback(self.state, feedback, asked, named)

        scorer = self._scorers.get(key, inferred)  # kept for other pages and filters
        return PropertyRanking(scorer, self.state, feedback, text if is_named else None)


class SaidBy:
    """The records whose texts say something word for word, at any level.

    ``is_indexed`` if the engine's index of words knows them all.
    """

    def __init__(self, state: IndexState, said: str) -> None:
        """Read nothing yet."""
        self._store, self._said, self._has_unspaced = state.store, said, state.has_unspaced
        self.is_indexed = is_plain(said) and not self._has_unspaced

    def at(self, level: LevelName) -> frozenset[str]:
        """Return the ids of the records."""
        return self._ids

    @cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(ids_that_say(self._store, self._said, self._has_unspaced))


def _said(where: Expression | None) -> list[str]:
    """Return what a condition asks texts to say word for word."""
    return [] if where is None else [node.text for node, _ in walk(where) if isinstance(node, Says)]


def _unsure(concepts: Iterable[Concept]) -> Iterator[str]:
    """Yield a warning for each phrase for which more records are found wrongly than rightly, as expected."""
    for one in concepts:
        if one.records and (one.precision or 0) < PRESENT:
            wrong = f"of which {one.precision:.0%} are expected to be right"
            yield f"{one.counted} found for {one.phrase!r}, {wrong}"


def feedback_of(query: Query) -> Feedback | None:
    """Return the given evidence of a property search; None for other searches.

    With examples and no property, the text is the description.
    """
    if query.feedback is not None:
        return query.judged
    if query.property is None and not query.like and not query.unlike:
        return None
    described = query.described if query.described is not None else query.text.strip() or None
    lists = {name: tuple(getattr(query, name)) for name in ("against", "like", "unlike")}
    return Feedback.read({"description": described, **lists})


def _sampled_ids(state: IndexState) -> list[PointId]:
    """Return the ids of a random sample of the points: ids are hashes, so the first are one."""
    return [point.id for point in first_points(state.store, SAMPLED, SAMPLED, False)]


def _parsed(where: str | Expression | JsonObject) -> Expression:
    """Return a parsed where expression; the parser is imported only here."""
    from saeindex.language.parser import parse_where

    return parse_where(where)


def _points_that(state: IndexState, condition: Condition) -> list[PointId]:
    """Return the ids of all points that fulfil a condition that engines cannot look for exactly."""
    path, holds = path_of(condition.field), predicate(condition)
    if isinstance(condition, Holds):
        return state.derived(FieldColumns).ids_that(path, holds)
    found = pages(state.store, None, PAGE, [METADATA])
    return [p.id for page in found for p in page.points if holds(found_at(p.payload, path))]
