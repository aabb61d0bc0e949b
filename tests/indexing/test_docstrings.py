"""The docstring corpus: its documents, the selected definitions and their order."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.indexing.sources.docstring_prose import cut_at_paragraph, readable_prose
from saeindex.indexing.sources.docstrings import DocstringSource

PROSE = (
    "Rotate the {thing} of a spiral by an angle, so that later steps can compare spirals of unequal age. "
    "The rotation keeps distances, and it is undone by the opposite angle."
)


@pytest.fixture
def site_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the running interpreter treats as installed packages."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def write_module(folder: Path, path: str, *definitions: str, head: str = "") -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    bodies = [f'{definition}\n    """{PROSE.format(thing=definition)}"""\n' for definition in definitions]
    file.write_text(head + "\n" + "\n".join(bodies), encoding="utf-8")


def ids(package: str, limit: int | None = None) -> list[str]:
    return [record.id for record in DocstringSource(limit, packages=[package])]


def test_public_definitions_are_found_without_importing_the_package(site_packages: Path) -> None:
    write_module(site_packages, "galaxy/__init__.py", head="raise RuntimeError('imported')")
    method = '    def bend(self):\n        """' + PROSE.format(thing="bend") + '"""\n'
    write_module(site_packages, "galaxy/arms.py", "class Arm:", head=f'"""Arms. {PROSE}"""')
    with (site_packages / "galaxy/arms.py").open("a") as file:
        file.write(method)
    records = {record.id: record for record in DocstringSource(packages=["galaxy"])}
    assert set(records) == {"galaxy.arms", "galaxy.arms:Arm", "galaxy.arms:Arm.bend"}
    assert "galaxy" not in sys.modules
    bend = records["galaxy.arms:Arm.bend"]
    assert bend.text.startswith("galaxy.arms.Arm.bend\nRotate the bend of a spiral")
    assert bend.metadata == {"module": "galaxy.arms", "kind": "method", "package": "galaxy", "name": "bend"}


def test_private_modules_count_only_where_their_package_re_exports_them(site_packages: Path) -> None:
    write_module(site_packages, "galaxy/__init__.py", head="from ._core import rotate")
    write_module(site_packages, "galaxy/_core.py", "def rotate():", "def helper():")
    write_module(site_packages, "galaxy/_other.py", "def hidden():")
    assert ids("galaxy") == ["galaxy:rotate"]


@pytest.mark.parametrize(
    "path", ["galaxy/tests/arms.py", "galaxy/_vendor/arms.py", "galaxy/test_arms.py", "galaxy/arms_pb2.py"]
)
def test_tests_vendored_and_generated_files_are_left_out(site_packages: Path, path: str) -> None:
    write_module(site_packages, "galaxy/__init__.py")
    write_module(site_packages, path, "def rotate():")
    assert ids("galaxy") == []


def test_files_that_do_not_parse_or_are_too_large_are_skipped(site_packages: Path) -> None:
    write_module(site_packages, "galaxy/__init__.py", "def rotate():")
    write_module(site_packages, "galaxy/broken.py", "def rotate():", head="def (")
    write_module(site_packages, "galaxy/large.py", "def rotate():", head="#" * 1_000_001)
    (site_packages / "galaxy/binary.py").write_bytes(b"\0\xff")
    assert ids("galaxy") == ["galaxy:rotate"]


def test_a_text_that_repeats_an_earlier_one_is_dropped(site_packages: Path) -> None:
    write_module(site_packages, "galaxy/__init__.py")
    for name in ("first", "second"):
        (site_packages / f"galaxy/{name}.py").write_text(f'def rotate():\n    """{PROSE}"""\n')
    assert len(ids("galaxy")) == 1


def test_a_small_corpus_is_balanced_and_the_same_every_time() -> None:
    source = DocstringSource(400)
    records = list(source)
    assert records == list(source)
    packages = [record.metadata["package"] for record in records]
    assert len({record.id for record in records}) == 400
    assert packages.count("python") < 200
    assert len(set(packages)) > 15
    assert all(100 < len(record.text) < 1700 for record in records)
    assert source.total == 400


def test_packages_can_be_left_out() -> None:
    packages = {record.metadata["package"] for record in DocstringSource(60, exclude_packages=["python"])}
    assert "python" not in packages


def test_unknown_packages_and_limits_are_refused() -> None:
    with pytest.raises(NotFoundError, match="no_such_package"):
        DocstringSource(packages=["no_such_package"])
    with pytest.raises(InvalidInputError, match="limit"):
        DocstringSource(0)


def test_prose_is_kept_and_listings_code_and_markup_are_not() -> None:
    docstring = f"""{PROSE}

    Uses :func:`~galaxy.core.shift` and ``angle``, see [1]_.

    Parameters
    ----------
    angle : float
        Unwanted parameter.

    Notes
    -----
    The notes are worth reading.

    Examples
    --------
    >>> rotate(3)
    unwanted_output

    :param angle: unwanted field
    """
    prose = readable_prose(docstring)
    assert prose is not None
    assert "Uses shift and angle, see." in prose
    assert prose.endswith("The notes are worth reading.")
    assert "nwanted" not in prose


def test_google_sections_directives_and_fences_are_left_out() -> None:
    docstring = f"""{PROSE}

    Args:
        angle: unwanted

            unwanted still
    After the arguments.

    .. versionadded:: 1.0
       unwanted too

    .. note:: A kept note.

    ```python
    unwanted()
    ```
    Last words::

        unwanted literal
    """
    prose = readable_prose(docstring)
    assert prose is not None
    assert "After the arguments." in prose
    assert "A kept note." in prose
    assert "nwanted" not in prose


@pytest.mark.parametrize(
    "docstring",
    [
        "Too short.",
        f"{PROSE}\n\n.. deprecated:: 1.2",
        f"Copyright 2001 Some Person. {PROSE}",
        f"Autogenerated by a tool. {PROSE}",
        f"A %(name)s random variable. {PROSE}",
        "a_b=1 " * 60,
    ],
)
def test_stubs_headers_and_templates_are_not_prose(docstring: str) -> None:
    assert readable_prose(docstring) is None


def test_a_long_text_is_cut_at_a_paragraph_or_a_sentence_or_anywhere() -> None:
    assert cut_at_paragraph("aaaa bbbb\n\ncccc dddd", 15) == "aaaa bbbb"
    assert cut_at_paragraph("Aaaa bbb. Cccc dddd eeee", 15) == "Aaaa bbb."
    assert cut_at_paragraph("a" * 20, 15) == "a" * 15
    assert cut_at_paragraph("short", 15) == "short"
