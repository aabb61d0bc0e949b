"""What goes together in an index: the correlating part of :class:`saeindex.index.FeatureIndex`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

from saeindex.analysis.correlate.all_pairs import correlate_open
from saeindex.analysis.correlate.named_pairs import correlate_named
from saeindex.analysis.correlate.triggers import find_triggers
from saeindex.concepts.named_concept import parse_concept
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.correlate.results import Correlations
    from saeindex.analysis.correlate.triggers import Triggers
    from saeindex.analysis.stats.groups import Selection, Selector
    from saeindex.collection.snapshot import Snapshot
    from saeindex.concepts.named_concept import NamedConcept
    from saeindex.protocols import TextEncoder


# What the index gives to the functions itself.
OWN = {
    "snapshot", "other", "prompts", "responses", "concepts", "with_concepts", "behaviour", "encoder", "rows"
}  # fmt: skip


class Correlating:
    """Correlations of concepts, and what in a prompt brings about what in a response."""

    if TYPE_CHECKING:

        @property
        def encoder(self) -> TextEncoder:
            """Return the space's encoder."""

        def snapshot(self, field: str = "") -> Snapshot:
            """Return the records as columns."""

        def _selector(self, snapshot: Snapshot) -> Selector: ...

    def correlate(
        self,
        /,
        concepts: Sequence[NamedConcept | str] = (),
        with_concepts: Sequence[NamedConcept | str] = (),
        *,
        field: str = "",
        other_field: str | None = None,
        where: Selection | None = None,
        **options: Any,
    ) -> Correlations:
        """Return which concepts go together, or avoid each other, more than by chance.

        Without ``concepts`` all pairs of features are tested (:func:`correlate_open`), with them the pairs
        that they make (:func:`correlate_named`); each is a :class:`NamedConcept` or a text such as
        ``"sad=feeling sad; against: being happy"``. ``other_field`` takes the other side from another text
        field; ``where`` selects records; ``options`` are those of the two functions.

        ``index.correlate(field="prompt", other_field="")``
        """
        snapshot = self.snapshot(field)
        other = None if other_field in (None, field) else self.snapshot(other_field or "")
        rows = self._rows(snapshot, where)
        if not concepts:
            _check_options(correlate_open, options)
            return correlate_open(snapshot, other, rows=rows, **options)
        _check_options(correlate_named, options)
        named, against = ([_named(one) for one in group] for group in (concepts, with_concepts))
        encoder = self.encoder if any(one.description for one in (*named, *against)) else None
        return correlate_named(snapshot, named, against, other=other, encoder=encoder, rows=rows, **options)

    def find_triggers(
        self,
        /,
        behaviour: NamedConcept | str | int,
        *,
        prompt_field: str = "prompt",
        field: str = "",
        where: Selection | None = None,
        **options: Any,
    ) -> Triggers:
        """Return which concepts of the prompts go with a behaviour of the responses (:func:`find_triggers`).

        ``behaviour`` is a feature's number, a :class:`NamedConcept`, or a text such as
        ``"refuses=declines to answer; against: answers"``.
        """
        _check_options(find_triggers, options)
        prompts, responses = self.snapshot(prompt_field), self.snapshot(field)
        named = behaviour if isinstance(behaviour, int) else _named(behaviour)
        is_described = not isinstance(named, int) and named.description is not None
        encoder = self.encoder if is_described else None
        rows = self._rows(responses, where)
        return find_triggers(prompts, responses, named, encoder=encoder, rows=rows, **options)

    def _rows(self, snapshot: Snapshot, where: Selection | None) -> NDArray[Any] | None:
        return None if where is None else self._selector(snapshot)(where)


def _check_options(function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for an option that a function does not have, or that is not for callers."""
    known = signature(function).parameters.keys() - OWN
    if unknown := sorted(options.keys() - known):
        found = f"{function.__name__} has no option {unknown[0]!r}"
        raise InvalidInputError("correlate", found, f"Use {', '.join(sorted(known))}.")


def _named(concept: NamedConcept | str) -> NamedConcept:
    return parse_concept(concept) if isinstance(concept, str) else concept
