"""Settings: a file, then the environment, then options; each value says where it comes from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from saeindex.cli.app import make_app
from saeindex.cli.settings import default_map, settings_file, settings_in_force
from saeindex.errors import InvalidInputError
from saeindex.files import CACHE_VARIABLE
from tests.cli.test_cli import call


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory and home, and no variables."""
    for name in os.environ:
        if name.startswith("SAEINDEX_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _in_force() -> dict[str, tuple[Any, str]]:
    return {one.name: (one.value, one.source) for one in settings_in_force() if one.value is not None}


def _defaults() -> dict[str, Any]:
    commands: typer.core.TyperGroup = get_command(make_app())  # type: ignore[assignment]
    return default_map(commands.commands)


def test_nothing_is_set(folder: Path) -> None:
    assert _in_force() == {}
    assert _defaults() == {}


def test_the_environment_is_stronger_than_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "saeindex.toml").write_text('limit = 3\nwhere_level = "strong"\n')
    monkeypatch.setenv("SAEINDEX_LIMIT", "7")
    assert _in_force() == {
        "limit": (7, "variable SAEINDEX_LIMIT"),
        "where_level": ("strong", "file saeindex.toml"),
    }
    defaults = _defaults()
    assert defaults["search"] == {"limit": 7, "where_level": "strong"}
    assert defaults["cluster"] == defaults["demo"] == {}  # their --limit is something else


def test_a_setting_is_the_default_of_options_of_its_name(folder: Path) -> None:
    (folder / "saeindex.toml").write_text('url = "http://a:6333"\nunit = "none"\nsplit = 100')
    defaults = _defaults()
    assert defaults["search"] == {"url": "http://a:6333"}
    assert defaults["diff"] == {"url": "http://a:6333", "unit": "none"}
    assert defaults["index"] == {"url": "http://a:6333", "split": 100}
    assert defaults["profiles"]["list"] == {"url": "http://a:6333"}


def test_the_file_in_the_home_directory_is_read_if_there_is_none_here(folder: Path) -> None:
    home = folder / "home" / ".config" / "saeindex" / "settings.toml"
    home.parent.mkdir(parents=True)
    home.write_text("limit = 4")
    assert _in_force() == {"limit": (4, f"file {home}")}
    (folder / "saeindex.toml").write_text("limit = 5")
    assert _in_force() == {"limit": (5, "file saeindex.toml")}


def test_the_cache_reaches_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "saeindex.toml").write_text('cache = "/tmp/x"')
    monkeypatch.setenv("SAEINDEX_CACHE", "")  # so that it is restored after the test
    monkeypatch.delenv("SAEINDEX_CACHE")
    _defaults()
    assert os.environ[CACHE_VARIABLE] == "/tmp/x"


WRONG = {
    "limt = 3": r"no setting has the name limt\. Use: url, space",
    "limit = 0": r"setting limit \(file saeindex\.toml\): .*greater than or equal to 1",
    'where_level = "loud"': r"setting where_level \(file .*'present', 'typical' or 'strong'",
    "limit = ": "it is not TOML",
    "[search]\nlimit = 3": "no setting has the name search",
    "x = 1\n" * 30_000: "more than 100,000 bytes",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_is_an_error(folder: Path, text: str) -> None:
    (folder / "saeindex.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=WRONG[text]):
        settings_in_force()


def test_wrong_variables_are_errors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAEINDEX_LIMITS", "3")
    with pytest.raises(InvalidInputError, match="the environment: no setting has the name SAEINDEX_LIMITS"):
        settings_in_force()
    monkeypatch.delenv("SAEINDEX_LIMITS")
    monkeypatch.setenv("SAEINDEX_LIMIT", "many")
    with pytest.raises(InvalidInputError, match=r"setting limit \(variable SAEINDEX_LIMIT\)"):
        settings_in_force()
    monkeypatch.delenv("SAEINDEX_LIMIT")
    monkeypatch.setenv("SAEINDEX_SETTINGS", "nowhere.toml")
    with pytest.raises(InvalidInputError, match="no such file"):
        settings_in_force()


def test_the_command_prints_what_is_in_force_without_passwords(folder: Path) -> None:
    (folder / "saeindex.toml").write_text('url = "https://me:secret@a:6333/x"')
    done = call("settings", cwd=folder)
    assert "https://a:6333/x" in done.stdout.replace("\n", "")
    assert "file saeindex.toml" in done.stdout
    assert "secret" not in done.stdout
    done = call("settings", "--json", cwd=folder)
    assert '"limit": {"value": null, "source": ""}' in done.stdout
    assert "secret" not in done.stdout


def test_an_option_is_stronger_than_settings(folder: Path) -> None:
    (folder / "saeindex.toml").write_text('url = "http://127.0.0.1:1"')
    done = call("list", cwd=folder)
    assert done.returncode == 3
    assert "127.0.0.1:1" in done.stderr or "Qdrant" in done.stderr
    (folder / "saeindex.toml").write_text("limit = 0")
    done = call("list", cwd=folder)
    assert done.returncode == 2
    assert "setting limit" in done.stderr


def test_without_settings_no_library_is_loaded_for_them(folder: Path) -> None:
    code = "import sys; from saeindex.cli.app import run; print('numpy' in sys.modules)\n"
    code += "sys.argv = ['saeindex', 'list']\n"
    code += "try: run()\nexcept SystemExit: pass\nprint('pydantic_settings' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(("words", "expected"), [("saeindex sea", "search"), ("saeindex cop", "copy")])
def test_the_shell_completes_commands(folder: Path, words: str, expected: str) -> None:
    number = str(len(words.split()) - 1)
    shell = {"_SAEINDEX_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": number}
    code = "import sys; sys.argv = ['saeindex']; from saeindex.cli.app import run; run()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **shell})
    assert expected in done.stdout.split()


def test_a_wrong_setting_is_named_with_what_it_is_for(folder: Path) -> None:
    (folder / "saeindex.toml").write_text("limit = 0\n")
    message = (
        r"setting limit \(file saeindex.toml\): limit should be greater than or equal to 1\. "
        r"Set the number of hits of a search so, or remove it there\."
    )
    with pytest.raises(InvalidInputError, match=message):
        settings_in_force()


def test_a_home_that_cannot_be_read_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.stat

    def refusing(path: Any, *given: Any, **named: Any) -> Any:
        if str(path).startswith(os.path.expanduser("~")):  # noqa: PTH111
            raise PermissionError(13, "Permission denied", path)
        return real(path, *given, **named)

    monkeypatch.setattr(os, "stat", refusing)  # tests may run as root, who may read everything
    monkeypatch.setattr("genericpath.os.stat", refusing)
    assert settings_file() is None
    monkeypatch.undo()
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # of a user that the system does not know
    assert settings_file() is None
