"""The table of settings in docs/server.md; ``python -m tests.server.test_settings_page`` writes it."""

from __future__ import annotations

from pathlib import Path

from saeindex_server.settings import PREFIX, ServerSettings

PAGE = Path(__file__).parents[2] / "docs" / "server.md"
MARK = "<!-- settings -->\n"


def table() -> str:
    rows = ["| variable | default | what it is |", "| --- | --- | --- |"]
    for name, field in ServerSettings.model_fields.items():
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n" + "\n".join(rows) + "\n"


def test_the_page_has_every_setting() -> None:
    assert PAGE.read_text(encoding="utf-8").split(MARK)[1] == table()


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text.split(MARK)[0] + MARK + table(), encoding="utf-8")
