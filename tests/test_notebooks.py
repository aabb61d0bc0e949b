"""The committed notebooks run, from the first cell to the last, and each cell shows something."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = [path for folder in ("docs", "examples") for path in sorted((ROOT / folder).glob("*.ipynb"))]


def test_the_first_steps_and_the_example_have_a_notebook() -> None:
    assert [path.name for path in NOTEBOOKS] == ["first_steps.ipynb", "rag.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_gives_the_committed_outputs(path: Path) -> None:
    committed = nbformat.read(path, as_version=4)
    shown = [[one.output_type for one in cell.get("outputs", ())] for cell in committed.cells]
    where = {"metadata": {"path": str(ROOT)}}
    executed = NotebookClient(committed, timeout=600, kernel_name="python3", resources=where).execute()
    assert [[one.output_type for one in cell.get("outputs", ())] for cell in executed.cells] == shown
    for cell in executed.cells[:-1]:
        if cell.cell_type == "code":
            assert any("text/html" in one.get("data", {}) for one in cell.outputs), cell.source
            assert not any(one.output_type == "stream" for one in cell.outputs), cell.source
