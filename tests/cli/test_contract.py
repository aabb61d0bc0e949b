"""The contract of every command: help, JSON, and the exit code of an invalid call."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from saeindex.cli.app import make_app

# These print no result, or the results of other commands.
WITHOUT_JSON = {"demo", "mcp", "serve"}


def commands(command: Any, name: str = "") -> dict[str, Any]:
    """Return every command under its full name."""
    if not hasattr(command, "commands"):
        return {name: command}
    return {
        full: each
        for part, inner in command.commands.items()
        for full, each in commands(inner, f"{name} {part}".strip()).items()
    }


COMMANDS = commands(typer.main.get_command(make_app()))


def test_the_commands_are_the_documented_ones() -> None:
    documented = "index search features feature diff correlate cluster drift describe info doctor demo"
    assert set(documented.split()) <= set(COMMANDS)
    assert {f"sae {name}" for name in ("fit", "eval", "label", "families", "import", "export")} <= set(
        COMMANDS
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_and_option_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert (command.help or "").strip()
    options = [one for one in command.params if one.param_type_name == "option"]
    assert not [one.name for one in options if not one.help]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - WITHOUT_JSON))
def test_each_command_has_json(name: str) -> None:
    assert "--json" in {opt for one in COMMANDS[name].params for opt in one.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_invalid_call_exits_2(name: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        make_app()([*name.split(), "--no-such-option"])
    assert stopped.value.code == 2
