"""Why one hit ranks above another: the difference of two scores, part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saeindex.errors import InvalidInputError
from saeindex.schema import Result
from saeindex.types import PartKind, shown_label

if TYPE_CHECKING:
    from saeindex.search.explain import Explanation
    from saeindex.search.hits import Hit
    from saeindex.types import Part

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Difference:
    """A part of two scores (0 if a score lacks it); ``value`` is ``a`` - ``b``."""

    kind: PartKind
    feature: int | None
    label: str
    a: float
    b: float
    is_weak: bool = False

    @property
    def value(self) -> float:
        """The contribution of this part to the difference of the scores."""
        return self.a - self.b

    @property
    def shown(self) -> str:
        """The name of the part for people to read."""
        label = shown_label(self.label, self.is_weak)
        return f"#{self.feature} {label}" if self.feature is not None else f"{self.kind}: {label}"


@dataclass(frozen=True, slots=True)
class Comparison(Result):
    """Two hits of a query, ``a`` and ``b`` (ids). ``differences``, largest first, sum to score_a - score_b.

    For fused scores the differences are by source, and ``sources`` compares the scores in each source that
    found both hits.
    """

    a: str
    b: str
    score_a: float
    score_b: float
    differences: tuple[Difference, ...]
    sources: Mapping[str, Comparison] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """score_a - score_b."""
        return self.score_a - self.score_b

    def __repr__(self) -> str:
        return f"Comparison({str(self).splitlines()[0]!r})"

    def __str__(self) -> str:
        above, below = (self.a, self.b) if self.total >= 0 else (self.b, self.a)
        lines = [f"{above} is {abs(self.total):.4f} above {below}: {self.score_a:.4f} and {self.score_b:.4f}"]
        shown, rest = self.differences[:SHOWN], self.differences[SHOWN:]
        lines += [f"  {part.value:+.4f}  {part.a:+.4f} | {part.b:+.4f}  {part.shown}" for part in shown]
        if rest:
            lines.append(f"  {sum(part.value for part in rest):+.4f}  {len(rest)} further parts")
        for name, source in self.sources.items():
            lines += [f"  {name}:", *(f"    {line}" for line in str(source).splitlines())]
        return "\n".join(lines)


def compare(a: Hit, b: Hit) -> Comparison:
    """Return why ``a`` ranks above or below ``b``; both must be explained hits of the same query."""
    if a.explanation is None or b.explanation is None:
        raise InvalidInputError(
            f"compare hits {a.id!r} and {b.id!r}", "they have no explanations", "Search with explain=True."
        )
    return compare_explanations(a.id, b.id, a.explanation, b.explanation)


def compare_explanations(a: str, b: str, first: Explanation, second: Explanation) -> Comparison:
    """Return the comparison of the explanations of two hits with the ids ``a`` and ``b``."""
    names = [[source.name for source in explanation.sources] for explanation in (first, second)]
    if names[0] != names[1]:
        raise InvalidInputError(
            f"compare hits {a!r} and {b!r}",
            "their scores are of different kinds",
            "Use two hits of one query.",
        )
    if names[0]:
        differences = _by_source(names[0], first.parts, second.parts)
    else:
        differences = _by_part(first.parts, second.parts)
    differences.sort(key=lambda part: -abs(part.value))
    sources = {
        ours.name: compare_explanations(a, b, ours.explanation, theirs.explanation)
        for ours, theirs in zip(first.sources, second.sources, strict=True)
        if ours.explanation is not None and theirs.explanation is not None
    }
    return Comparison(a, b, first.total, second.total, tuple(differences), sources)


def _by_source(names: Sequence[str], ours: Sequence[Part], theirs: Sequence[Part]) -> list[Difference]:
    """Match the parts of fused scores by position, because their labels contain the rank."""
    return [
        Difference("source", None, f"{name} ({a.label.removeprefix(name).strip()} and "
                   f"{b.label.removeprefix(name).strip()})", a.value, b.value)
        for name, a, b in zip(names, ours, theirs, strict=True)
    ]  # fmt: skip


def _by_part(ours: Sequence[Part], theirs: Sequence[Part]) -> list[Difference]:
    def keyed(parts: Sequence[Part]) -> dict[tuple[PartKind, int | str], Part]:
        return {(part.kind, part.label if part.feature is None else part.feature): part for part in parts}

    first, second = keyed(ours), keyed(theirs)
    differences = []
    for key in first | second:
        part = first.get(key) or second[key]
        a, b = (found[key].value if key in found else 0.0 for found in (first, second))
        differences.append(Difference(part.kind, part.feature, part.label, a, b, part.is_weak))
    return differences
