"""Base forms of words: those of simplemma's own dictionary, whatever becomes of the file that keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from simplemma import is_known, lemmatize
from simplemma.strategies import DEFAULT_DICTIONARY_FACTORY

from saeindex.files import CACHE_VARIABLE
from saeindex.language import lemmas

# Of each kind: in the dictionary, by a rule, with an apostrophe, with a capital there, of no language.
WORDS = ("mice", "flurbings", "children's", "paris", "krt17", "re-encoded", "naïve", "nai\u0308ve", "была")


def forget() -> None:
    for kept in (lemmas._dictionaries, lemmas._lemmatizer, lemmas.base_form, lemmas.is_english):
        kept.cache_clear()


def found() -> list[tuple[str, bool]]:
    forget()
    return [(lemmas.base_form(word), lemmas.is_english(word)) for word in WORDS]


EXPECTED = [(lemmatize(word, "en").lower(), is_known(word, "en")) for word in WORDS]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_dictionary_is_simplemmas(cache: Path) -> None:
    assert found() == EXPECTED
    kept = lemmas._dictionaries().get_dictionary("en")
    assert dict(kept.items()) == dict(DEFAULT_DICTIONARY_FACTORY.get_dictionary("en").items())
    assert [one.suffix for one in cache.rglob("*.*") if one.is_file()] == [".dic"]
    assert found() == EXPECTED  # read from the file


def test_a_damaged_file_is_made_again_and_none_is_needed(
    cache: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    found()
    (file,) = cache.rglob("*.dic")
    whole = file.read_bytes()
    for damaged in (b"", whole[:1000], whole[: len(whole) // 2], b"x" * 1000):
        file.write_bytes(damaged)
        assert found() == EXPECTED
        assert file.read_bytes() == whole
    file.unlink()
    file.parent.rmdir()
    cache.rmdir()
    cache.write_text("no folder")
    assert found() == EXPECTED
    assert not caplog.records and capsys.readouterr() == ("", "")


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    forget()
