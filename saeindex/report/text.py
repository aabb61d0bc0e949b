"""A result as text for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from saeindex.report.model import Block, Bullets, Cell, Description, Example, Heading, Quotes, Table
from saeindex.types import visible

# The maximum number of rows of a table, items behind a cell, and records.
ROWS, ITEMS, RECORDS = 12, 4, 3
# Characters of a record, and of the widest column.
RECORD_CHARS, COLUMN_CHARS = 110, 72


def text_of(description: Description) -> str:
    """Return the answer in short, how it was found, and what was found."""
    notes = [f"Note: {note}." for note in description.notes]
    lines = [*description.summary, *filter(None, description.method), *notes]
    for section in description.sections:
        if blocks := [block for block in section.blocks if not isinstance(block, partial)]:
            lines += [""] if isinstance(blocks[0], Heading) else ["", f"{section.title}:"]
            lines += [line for block in blocks for line in _lines(block)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(map(visible, lines))).strip()


def _lines(block: Block) -> Iterator[str]:
    match block:
        case str():
            yield f"  {block}"
        case Heading():
            yield from ("", f"{block.title}: {block.text}" if block.text else f"{block.title}:")
        case Bullets():
            yield from (f"  {item}" for item in block.items)
        case Table():
            yield from () if block.page_only or not block.rows else _table(block)
        case Quotes():
            if block.title:
                first = next((f": {_quote(each)}" for _, examples in block.sides for each in examples), "")
                yield f"  {block.title} ({block.note}){first}"
            else:
                yield from (
                    f"  {side}  {_quote(each)}"
                    for side, examples in block.sides
                    for each in examples[:RECORDS]
                )


def _table(table: Table) -> Iterator[str]:
    """Return aligned columns; what is behind a cell is on a line of its own."""
    shown = table.rows[:ROWS]
    rows = [
        table.columns,
        *([cell.text if isinstance(cell, Cell) else cell for cell in row] for row in shown),
    ]
    widths = [min(COLUMN_CHARS, max(map(len, column))) for column in zip(*rows, strict=True)]
    aligns = [">" if kind == "number" else "<" for kind in table.kinds]
    for place, cells in enumerate(rows):
        padded = (f"{text:{align}{width}}" for text, align, width in zip(cells, aligns, widths, strict=True))
        yield f"  {'  '.join(padded)}".rstrip()
        behind = shown[place - 1] if place else []
        yield from (f"      {_behind(cell)}" for cell in behind if isinstance(cell, Cell) and _behind(cell))
    if len(table.rows) > ROWS:
        yield f"  … and {len(table.rows) - ROWS:,} more"


def _behind(cell: Cell) -> str:
    more = f" and {len(cell.items) - ITEMS:,} more" if len(cell.items) > ITEMS else ""
    return f"{cell.summary}: {'; '.join(cell.items[:ITEMS])}{more}" if cell.items else ""


def _quote(example: Example) -> str:
    """Return the start of a record, its highlights between asterisks."""
    parts = enumerate(example.parts(RECORD_CHARS))
    marked = "".join(f"*{part}*" if place % 2 else part for place, part in parts)
    return f"{example.id}: {marked}"
