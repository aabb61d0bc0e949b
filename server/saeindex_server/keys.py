"""API keys: made on the command line, shown once, kept as salted hashes."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from saeindex.config import CONCEPTS
from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.language.parser import parse_where
from saeindex.language.to_filter import compile_where
from saeindex.stores.filters import as_filter, check_filter, restricts

if TYPE_CHECKING:
    import sqlite3

    from saeindex.language.ast import TextTerm
    from saeindex_server.database import Database

Scope: TypeAlias = Literal["read", "write", "analyse", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_KEY = re.compile(r"sae_([0-9a-f]{12})_([\w-]{43})")
_NAME = re.compile(r"[\w][\w .@-]{0,79}")
MAX_KEYS, MAX_CHARS = 10_000, 200
NO_SALT = bytes(16)
CLAUSES = ("must", "should", "must_not", "min_should")


@dataclass(frozen=True, slots=True)
class Key:
    """What a key allows; without ``indexes``, all of them.

    ``condition`` is a Qdrant filter as JSON. Whoever has the key can then read and analyse the records that
    match it, as if there were no others.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    indexes: frozenset[str] = frozenset()
    condition: str | None = None
    created: str = ""
    expires: str | None = None
    revoked: str | None = None

    def may(self, scope: Scope) -> bool:
        """Return whether the key has a scope; "admin" has them all."""
        return scope in self.scopes or "admin" in self.scopes

    def reaches(self, index: str) -> bool:
        """Return whether the key is for an index."""
        return not self.indexes or index in self.indexes

    @property
    def is_valid(self) -> bool:
        """Whether it is neither revoked nor at its end."""
        return self.revoked is None and (self.expires is None or self.expires > _now())

    def to_json(self) -> dict[str, Any]:
        """Return what may be shown of the key: never the key itself."""
        plain = {name: getattr(self, name) for name in ("id", "name", "created", "expires", "revoked")}
        condition = json.loads(self.condition or "null")
        return {**plain, "scopes": sorted(self.scopes), "indexes": sorted(self.indexes), "filter": condition}


# The caller of a server on loopback without keys.
LOCAL = Key("local", "this machine", frozenset(SCOPES))


class KeyStore:
    """The keys of a server."""

    def __init__(self, database: Database) -> None:
        """Keep keys in a database."""
        self._database = database
        # Whether a key was found to exist, by `look`: none is ever deleted.
        self.are_on = False

    def create(
        self,
        name: str,
        scopes: Collection[str] = ("read", "analyse"),
        indexes: Sequence[str] = (),
        where: str | None = None,
        query_filter: Mapping[str, Any] | None = None,
        days: float | None = None,
    ) -> tuple[Key, str]:
        """Make a key; return it with its text, which is not kept and cannot be shown again."""
        wanted = {scope for scope in SCOPES if scope in scopes}
        if not wanted or len(wanted) != len(set(scopes)):
            asked = f"scopes {', '.join(sorted(scopes)) or '(none)'}"
            raise InvalidInputError(asked, "no such scope", f"Use {', '.join(SCOPES)}.")
        if not _NAME.fullmatch(name):
            do = "Use up to 80 letters, digits, spaces, dots and dashes."
            raise InvalidInputError(f"key name {name!r:.80}", "not a name", do)
        condition = mandatory_filter(where, query_filter)
        if condition is not None and wanted & {"write", "admin"}:
            found = "it may also write, and who writes sees what is there"
            do = "Leave out the scopes write and admin, or the filter."
            raise InvalidInputError(f"key {name!r} with a filter", found, do)
        if days is not None and not 0 < days <= 36_500:
            raise InvalidInputError(f"days={days}", "out of range", "Use a number above 0, up to 36,500.")
        if self.count() >= MAX_KEYS:
            raise InvalidInputError(f"key {name!r}", f"there are {MAX_KEYS:,} keys", "Delete some.")
        identity, secret, salt = secrets.token_hex(6), secrets.token_urlsafe(32), secrets.token_bytes(16)
        end = None if days is None else _now(days)
        key = Key(identity, name, frozenset(wanted), frozenset(indexes), condition, _now(), end)
        digest = _hashed(secret, salt)
        with self._database.transaction() as statements:
            statements.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                (identity, name, salt, digest, json.dumps(sorted(wanted)),
                 json.dumps(sorted(indexes)), condition, key.created, end),
            )  # fmt: skip
        return key, f"sae_{identity}_{secret}"

    def all(self) -> list[Key]:
        """Return all keys, the oldest first."""
        return [_read(row) for row in self._database.rows("SELECT * FROM keys ORDER BY created, id")]

    def count(self) -> int:
        """Return the number of keys, revoked ones included."""
        return int(self._database.rows("SELECT COUNT(*) AS n FROM keys")[0]["n"])

    def look(self) -> bool:
        """Return whether a key was ever made; the file is asked until one was."""
        self.are_on = self.are_on or self.count() > 0
        return self.are_on

    def unbind(self, index: str) -> None:
        """Let no key that is bound to an index of this name reach a new one: its name is another then."""
        gone = f"{index} (until {_now()})"
        for key in self.all():
            if index in key.indexes:
                names = json.dumps(sorted({*key.indexes - {index}, gone}))
                with self._database.transaction() as statements:
                    statements.execute("UPDATE keys SET indexes = ? WHERE id = ?", (names, key.id))

    def revoke(self, identity: str) -> Key:
        """End a key now; NotFoundError if there is none of that id."""
        with self._database.transaction() as statements:
            statements.execute(
                "UPDATE keys SET revoked = ? WHERE id = ? AND revoked IS NULL", (_now(), identity)
            )
        row = self._database.row("SELECT * FROM keys WHERE id = ?", identity)
        if row is None:
            raise NotFoundError(f"key {identity!r:.80}", "no key has this id", "See `saeindex keys list`.")
        return _read(row)

    def verified(self, text: str) -> Key | None:
        """Return the key of a text, or None if it is not one, not right, revoked or at its end."""
        if len(text) > MAX_CHARS or (found := _KEY.fullmatch(text)) is None:
            return None
        identity, secret = found.groups()
        row = self._database.row("SELECT * FROM keys WHERE id = ?", identity)
        salt, digest = (NO_SALT, b"") if row is None else (row["salt"], row["digest"])
        is_right = hmac.compare_digest(_hashed(secret, salt), digest)  # an unknown id takes as long
        if row is None or not is_right:
            return None
        key = _read(row)
        return key if key.is_valid else None


def mandatory_filter(where: str | None, query_filter: Mapping[str, Any] | None) -> str | None:
    """Return the filter of a key as canonical JSON, None without one.

    It may name fields only: what a phrase means would depend on the records that it hides.
    """
    if where is None and query_filter is None:
        return None

    def no_concepts(term: TextTerm) -> Sequence[int]:
        found = "it names a concept, and what that means depends on all records"
        raise InvalidInputError(f"the filter of a key {where!r:.200}", found, "Use conditions on fields.")

    expression = None if where is None else parse_where(where)
    native = as_filter(query_filter)
    check_filter(native)
    compiled = compile_where(expression, no_concepts, query_filter=native)
    assert compiled is not None  # noqa: S101
    conditions = compiled.model_dump(mode="json", exclude_none=True)
    if not restricts(compiled):
        found = "it has no condition, so the key would reach all records"
        raise InvalidInputError("the filter of a key", found, "Give a condition, or no filter.")
    _check_fields(conditions)
    return json.dumps(conditions, sort_keys=True)


def _check_fields(conditions: Any) -> None:
    """Refuse, in the JSON of a filter, conditions on concepts, or on points by their ids or vectors."""
    for one in conditions if isinstance(conditions, list) else [conditions]:
        key = one.get("key") or one.get("nested", one.get("is_empty", one.get("is_null", {}))).get("key")
        if inner := [one[clause] for clause in CLAUSES if one.get(clause)]:
            for clause in inner:
                _check_fields(clause.get("conditions", clause) if isinstance(clause, dict) else clause)
        elif key is None or re.match(rf"{CONCEPTS}(_|$)", key):
            found = "it has a condition on " + ("concepts" if key else "points by their ids or vectors")
            raise InvalidInputError("the filter of a key", found, "Use conditions on fields.")


def _hashed(secret: str, salt: bytes) -> bytes:
    """Return the hash of a secret; it is 256 random bits, so that a slow hash would protect nothing more."""
    return hashlib.sha256(salt + secret.encode()).digest()


def _read(row: sqlite3.Row) -> Key:
    kept = {name: row[name] for name in row.keys() if name not in ("salt", "digest")}  # noqa: SIM118
    kept |= {name: frozenset(json.loads(kept[name])) for name in ("scopes", "indexes")}
    return Key(**kept)


def _now(days: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds")
