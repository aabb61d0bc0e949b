"""A result as text for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from saeindex.report.model import (
    Block,
    Box,
    Bullets,
    Cell,
    Description,
    Example,
    Figure,
    Heading,
    Ids,
    Paragraph,
    Quotes,
    Sides,
    Table,
    word_in,
)

# Rows of a table, items behind a cell, and records that are shown; characters of a record and of a name.
ROWS, ITEMS, RECORDS, CHARS, NAME_CHARS = 12, 4, 3, 110, 48


def text_of(told: Description) -> str:
    """Return the answer in short, how it was found, and what was found."""
    lines = [
        *told.summary,
        *(line for line in told.method if line),
        *(f"Note: {note}." for note in told.notes),
    ]
    for section in told.sections:
        blocks = [block for block in section.blocks if not isinstance(block, Figure)]
        if blocks:
            has_headings = isinstance(blocks[0], Heading)
            lines += [""] if has_headings else ["", f"{section.title}:"]
            lines += [line for block in blocks for line in _lines(block)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Heading():
            yield ""
            yield f"{block.title}: {block.text}" if block.text else f"{block.title}:"
        case Paragraph():
            yield f"  {block.text}"
        case Bullets():
            yield from (f"  {_item(item)}" for item in block.items)
        case Table():
            yield from () if block.page_only else _table(block)
        case Quotes():
            notes = block.notes or [""] * len(block.examples)
            for example, note in list(zip(block.examples, notes, strict=True))[:RECORDS]:
                yield f"  {f'{note}  ' if note else ''}{_quote(example)}"
        case Sides():
            first = next((each[0] for each in block.examples.values() if each), None)
            yield f"  {block.title} ({block.text})" + (f": {_quote(first)}" if first else "")
        case Box():
            yield from (line for inner in block.blocks for line in _lines(inner))


def _table(table: Table) -> Iterator[str]:
    """Return aligned columns; what stands behind a cell is on a line of its own."""
    shown = table.rows[:ROWS]
    if not shown:
        return
    rows = [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in shown]
    widths = [
        min(NAME_CHARS, max(map(len, column)))
        for column in zip([h.name for h in table.heads], *rows, strict=True)
    ]
    yield _row([head.name for head in table.heads], table, widths)
    for row, cells in zip(shown, rows, strict=True):
        yield _row(cells, table, widths)
        yield from (f"      {line}" for cell in row if isinstance(cell, Cell) for line in _behind(cell))
    if len(table.rows) > ROWS:
        yield f"  … and {len(table.rows) - ROWS:,} more"


def _row(cells: Sequence[str], table: Table, widths: Sequence[int]) -> str:
    padded = (
        cell.rjust(width) if head.is_number else cell.ljust(width)
        for cell, head, width in zip(cells, table.heads, widths, strict=True)
    )
    return f"  {'  '.join(padded)}".rstrip()


def _behind(cell: Cell) -> list[str]:
    if cell.page_only or not cell.items:
        return []
    more = f" and {len(cell.items) - ITEMS:,} more" if len(cell.items) > ITEMS else ""
    return [f"{cell.summary}: {'; '.join(cell.items[:ITEMS])}{more}"]


def _item(item: str | Ids) -> str:
    return item if isinstance(item, str) else f"{item.name}: {', '.join(item.ids[:ITEMS]) or 'none'}"


def _quote(example: Example) -> str:
    """Return the start of a record, its highlights between asterisks."""
    text = example.text[:CHARS]
    for word in example.highlights:
        if found := word_in(word, text):
            text = f"{text[: found.start()]}*{found.group()}*{text[found.end() :]}"
    return f"{example.id}: {text}"
