"""What a page of a search asks for: the same as its address, so that a link is the search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from saeindex.language.parser import parse_steer
from saeindex.search.query import Query
from saeindex.types import Steer

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT, MOST_CHARS = 8, 4_000


@dataclass(slots=True)
class Asked:
    """A search of a person: a text, a condition, and concepts with their strengths."""

    text: str = ""
    where: str = ""
    steers: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Asked:
        """Read the parameters of an address; what cannot be read in them is an InvalidInputError."""
        given = {name: parameters.get(name, "")[:MOST_CHARS] for name in ("q", "where", "steer")}
        steers = parse_steer(given["steer"]) if given["steer"].strip() else ()
        return cls(given["q"], given["where"], {one.target: one.strength for one in steers})

    @property
    def steer(self) -> str:
        """The steers as text: ``+crime:2 -"dark matter":0.5``."""
        return " ".join(_written(target, strength) for target, strength in self.steers.items())

    def address(self, path: str) -> str:
        """Return the address of this search."""
        parameters = {"q": self.text, "where": self.where, "steer": self.steer}
        given = {name: value for name, value in parameters.items() if value}
        return f"{path}?{urlencode(given)}" if given else path

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return not self.text.strip() and not self.where.strip()

    def query(self, is_steered: bool) -> Query:
        """Return the query, as it is or moved towards the concepts."""
        moved = [Steer(target, strength) for target, strength in self.steers.items() if strength]
        return Query(
            text=self.text,
            where=self.where or None,
            steer=(moved or None) if is_steered else None,
            limit=LIMIT,
            explain=True,
        )

    def as_python(self, name: str) -> str:
        """Return the Python that asks the same."""
        given = [repr(self.text)] if self.text else []
        given += [f"where={self.where!r}"] * bool(self.where) + [f"steer={self.steer!r}"] * bool(self.steer)
        return (
            f'from saeindex import FeatureIndex\n\nindex = FeatureIndex.open("{name}.idx")\n'
            f"hits = index.search({', '.join([*given, f'limit={LIMIT}'])})"
        )

    def as_command(self, name: str) -> str:
        """Return the command that asks the same."""
        import shlex

        words = ["saeindex", "search", f"{name}.idx", *([self.text] if self.text else [])]
        words += ["--where", self.where] * bool(self.where) + [f"--steer={self.steer}"] * bool(self.steer)
        return shlex.join([*words, "--limit", str(LIMIT)])


def _written(target: str, strength: float) -> str:
    shown = target if target.replace("_", "").isalnum() or target.startswith("#") else f'"{target}"'
    return f"{'-' if strength < 0 else '+'}{shown}:{abs(strength):g}"
