"""What a page of a search asks for: the same as its address, so that a link is the search."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from saeindex.config import PROFILE
from saeindex.language.literal import Typed
from saeindex.language.parser import parse_steer
from saeindex.language.to_text import quoted
from saeindex.schema import to_json
from saeindex.search.query import Query
from saeindex.types import Steer

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

LIMIT, MOST_CHARS, MOST_JUDGED, MAX_ID_CHARS = 8, 4_000, 50, 512


# What is written in a steer as it is.
_PLAIN = re.compile(rf"(?:{PROFILE})?\w+|#\d+")


@dataclass(slots=True)
class Asked:
    """A search of a person: a text, a condition, concepts with their strengths, and hits that were judged."""

    text: str = ""
    where: str = ""
    steers: dict[str, float] = field(default_factory=dict)
    judged: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, parameters: QueryParams) -> Asked:
        """Read the parameters of an address; what cannot be read in them is an InvalidInputError."""
        given = {name: parameters.get(name, "")[:MOST_CHARS] for name in ("q", "where", "steer")}
        steers = parse_steer(given["steer"]) if given["steer"].strip() else ()
        judged = {
            record[:MAX_ID_CHARS]: is_liked
            for name, is_liked in (("like", True), ("unlike", False))
            for record in parameters.getlist(name)[:MOST_JUDGED]
        }
        return cls(given["q"], given["where"], {one.target: one.strength for one in steers}, judged)

    def copy(self) -> Asked:
        """Return what is asked for now."""
        return replace(self, steers=dict(self.steers), judged=dict(self.judged))

    @property
    def steer(self) -> str:
        """The steers by name as text: ``+crime:2 -"dark matter":0.5``."""
        return " ".join(_written(target, strength) for target, strength in self.steers.items())

    def records(self, is_liked: bool) -> tuple[str, ...]:
        """Return the ids of the records that were liked, or those that were not."""
        return tuple(record for record, liked in self.judged.items() if liked is is_liked)

    @property
    def all_steers(self) -> list[Steer]:
        """The steers, and that towards what was liked."""
        moved = [Steer(target, strength) for target, strength in self.steers.items() if strength]
        if liked := self.records(True):
            moved.append(Steer("", like=liked, unlike=self.records(False)))
        return moved

    def address(self, path: str) -> str:
        """Return the address of this search."""
        parameters = [("q", self.text), ("where", self.where), ("steer", self.steer)]
        parameters += [("like" if liked else "unlike", record) for record, liked in self.judged.items()]
        given = [(name, value) for name, value in parameters if value]
        return f"{path}?{urlencode(given)}" if given else path

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return not self.text.strip() and not self.where.strip()

    def query(self, is_steered: bool) -> Query:
        """Return the query, as it is or moved towards the concepts."""
        return Query(
            text=self.text,
            where=self.where or None,
            steer=(self.all_steers or None) if is_steered else None,
            limit=LIMIT,
            explain=True,
            syntax=True,
            interpret=True,
        )

    def as_python(self, name: str) -> str:
        """Return the Python that asks the same."""
        judged, given = self.records(True), [repr(self.text)] if self.text else []
        given += ["syntax=True"] * (Typed.of(self.text) != (self.text, [], []))
        given += [f"where={self.where!r}"] * bool(self.where)
        if judged:
            given.append(f"steer={self.all_steers!r}")
        elif self.steer:
            given.append(f"steer={self.steer!r}")
        return (
            f"from saeindex import FeatureIndex{', Steer' if judged else ''}\n\n"
            f'index = FeatureIndex.open("{name}.idx")\n'
            f"hits = index.search({', '.join([*given, f'limit={LIMIT}'])})"
        )

    def as_command(self, name: str) -> str:
        """Return the command that asks the same, but for the records that were judged."""
        words = ["saeindex", "search", f"{name}.idx", *([self.text] if self.text else [])]
        words += ["--where", self.where] * bool(self.where) + [f"--steer={self.steer}"] * bool(self.steer)
        return shlex.join([*words, "--limit", str(LIMIT)])

    def as_curl(self, name: str, server: str) -> str:
        """Return the request that asks the same."""
        body = json.dumps({**to_json(self.query(is_steered=True)), "explain": False})
        words = ["curl", f"{server}/v1/indexes/{quote(name)}/search", "--json", body]
        return shlex.join(words)


def _written(target: str, strength: float) -> str:
    shown = target if _PLAIN.fullmatch(target) else quoted(target)
    return f"{'-' if strength < 0 else '+'}{shown}:{abs(strength):g}"
