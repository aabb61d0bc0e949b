"""Control characters of texts, ids, labels, names and paths are shown, not obeyed; no CSV has a formula."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from saeindex.types import one_line, shortened, shown_label, visible
from tests.cli.test_cli import call

# A colour, a title, a C1 sequence, a reversal, an isolate, NUL, line ends, and a tag that is invisible.
HOSTILE = "\x1b[31mRED\x1b]0;title\x07\x9b31m\u202eback\u2066in\x00nul\nline\u2028end\r\x7f\U000e0041"
OBEYED = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
COUNT = 90
TEXTS = (
    "coffee and cream",
    "the pizza was cold",
    "the staff was kind",
    "the battery died",
    "a bright screen",
)


def unseen_progress(text: str) -> str:
    """Return what stderr has without the returns of progress bars to the start of their line."""
    return re.sub(r"\r(?=[^\r\n]* docs)", "", text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a hostile file, and the index of it."""
    path = tmp_path_factory.mktemp("hostile")
    rows = []
    for number in range(COUNT):
        text = f"{HOSTILE} {TEXTS[number % 5]} {HOSTILE} {TEXTS[number * 7 % 5]} {number}"
        rows.append(
            {
                "id": f"=r{number}{HOSTILE}" if number % 9 else f"r{number}", "text": text,
                "group": f"@{'ab'[number % 5 in (0, 2)]}{HOSTILE}", "year": 2000 + number % 6,
                f"odd{HOSTILE}": number % 2,
            }
        )  # fmt: skip
    (path / "ev\x1b[31m\nil.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"id": f"bad{HOSTILE}"}])))
    done = call("index", "ev\x1b[31m\nil.jsonl", "--into", "hostile.idx", cwd=path)
    assert done.returncode == 0
    assert not OBEYED.search(done.stdout + unseen_progress(done.stderr))
    return path


QUERY = HOSTILE.replace("\x00", "")
COMMANDS = [
    ["search", "coffee"],
    ["search", "coffee", "--explain", "--plan"],
    ["search", "coffee", "--json"],
    ["search", QUERY],
    ["search", "coffee", "--group-by", "metadata.group"],
    ["search", "coffee", "--group-by", f"metadata.odd{QUERY}"],
    ["search", "coffee", "--facets", "--suggest"],
    ["search", "coffee", "--where", f'metadata.group = "{QUERY}"'],
    ["search", "coffee", "--where", f"metadata.odd{QUERY} = 1"],
    ["search", "coffee", "--where", f"metadata.`odd{HOSTILE}` = 1".replace("\x00", "")],
    ["search", "coffee", "--where", QUERY],
    ["search", "coffee", "--steer", f'+"{QUERY}"'],
    ["diff", "--by", "metadata.group"],
    ["diff", "--by", f"metadata.nope{QUERY}"],
    ["diff", "--by", "metadata.group", "--json"],
    ["drift", "--over", "metadata.year"],
    ["profile", "--where", "metadata.year = 2001"],
    ["monitor", "--window", "metadata.year > 2003", "--reference", "metadata.year <= 2003"],
    ["cluster", "--axis", f"food: coffee{QUERY}, pizza"],
    ["correlate"],
    ["info"],
    ["info", "--json"],
    ["features", QUERY],
    ["feature", "1817"],
    ["feature", QUERY],
    ["steering", "show", QUERY],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda given: ascii(" ".join(given))[:50])
def test_no_command_prints_what_a_terminal_obeys(folder: Path, command: list[str]) -> None:
    name, *rest = command
    names = [name, rest.pop(0)] if name == "steering" else [name]
    done = call(*names, "hostile.idx", *rest, cwd=folder)
    assert done.returncode in (0, 1, 2)
    assert done.stdout or done.stderr
    assert not OBEYED.search(done.stdout + unseen_progress(done.stderr))


def test_errors_about_paths_are_one_safe_line(tmp_path: Path) -> None:
    for command in (["info", QUERY], ["index", QUERY, "--into", "x.idx"], ["search", QUERY, "coffee"]):
        done = call(*command, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert not OBEYED.search(done.stdout + done.stderr)


def test_json_keeps_texts_whole(folder: Path) -> None:
    done = call("search", "hostile.idx", "coffee", "--json", cwd=folder)
    hits = json.loads(done.stdout)["hits"]
    assert all(hit["text"].startswith(HOSTILE) for hit in hits)


def test_no_table_has_a_formula(folder: Path) -> None:
    call("diff", "hostile.idx", "--by", "metadata.group", "--table", "found.csv", cwd=folder)
    axis = ["--axis", "food: coffee, pizza", "--table", "clusters.csv"]
    call("cluster", "hostile.idx", *axis, cwd=folder)
    files = sorted(folder.glob("*.csv"))
    cells = []
    for path in files:
        with path.open(newline="", encoding="utf-8") as file:
            cells += [cell for row in csv.reader(file) for cell in row]
    assert len(files) >= 3
    assert any(cell.startswith("'=r1") for cell in cells)
    running = [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert all(re.fullmatch(r"-?[0-9.e-]+|-inf", cell) for cell in running)


def test_visible_shows_each_character_and_keeps_others() -> None:
    assert visible("plain, größe, 日本 👩‍💻\u00a0") == "plain, größe, 日本 👩‍💻\u00a0"
    assert visible("\x1b\x00\n\x7f\x9b\u202e\ud800\U000e0041") == "␛␀␊␡\\u009b\\u202e\\ud800\\U000e0041"
    assert visible("a\n\tb\x1b", "\n\t") == "a\n\tb␛"
    assert not any(OBEYED.search(made(HOSTILE)) for made in (visible, lambda text: shown_label(text, True)))
    assert not any(OBEYED.search(made(HOSTILE, 99)) for made in (shortened, one_line))


def test_no_page_has_characters_that_html_does_not(folder: Path) -> None:
    call("diff", "hostile.idx", "--by", "metadata.group", "--report", "found.html", cwd=folder)
    page = (folder / "found.html").read_text(encoding="utf-8")
    assert "nul" in page and "<h1>" in page and "<blockquote>" in page
    assert not OBEYED.search(page)
