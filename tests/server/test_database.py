"""The database of a server: who reads, who writes, and what fails."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from saeindex_server.database import Database


def test_what_is_committed_is_read_and_what_is_not_is_not(tmp_path: Path) -> None:
    database = Database(tmp_path / "state")
    question = "SELECT COUNT(*) AS n FROM answers"

    def count() -> int:
        row = database.row(question)
        assert row is not None
        return int(row["n"])

    with database.transaction() as statements:
        statements.execute("INSERT INTO answers VALUES ('k', 't', x'', '2000', 200, '')")
        assert count() == 0
    assert count() == 1
    with pytest.raises(ZeroDivisionError), database.transaction() as statements:
        statements.execute("DELETE FROM answers")
        raise ZeroDivisionError
    assert count() == 1
    with pytest.raises(sqlite3.OperationalError):
        database.rows("DELETE FROM answers")
    database.close()
    with pytest.raises(sqlite3.ProgrammingError):
        count()


def test_a_commit_that_fails_leaves_the_database_usable(tmp_path: Path) -> None:
    database = Database(tmp_path / "state")
    question = "INSERT INTO answers VALUES ('k', ?, x'', '2000', 200, ?)"
    with pytest.raises(sqlite3.OperationalError, match="full"), database.transaction() as statements:
        pages = statements.execute("PRAGMA page_count").fetchone()[0]
        statements.execute(f"PRAGMA max_page_count = {pages}")
        statements.execute(question, ("a", "a" * 100_000))
    with database.transaction() as statements:
        statements.execute("PRAGMA max_page_count = 100000")
        statements.execute(question, ("b", ""))
    assert [row["token"] for row in database.rows("SELECT token FROM answers")] == ["b"]
    database.close()
