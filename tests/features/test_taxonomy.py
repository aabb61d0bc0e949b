"""Concepts that a space should have are read from every format, and unusable ones are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from saeindex.errors import InvalidInputError, NotFoundError
from saeindex.features.taxonomy import DefinedConcept, read_taxonomy

FOOD = DefinedConcept("food", "what is eaten", ("meal", "dish"))
CAKE = DefinedConcept("cake", "", (), ("a slice of cake", "icing, sugar"), "food")
COLUMNS = "name,description,words,examples,broader"
ROWS = f'{COLUMNS}\nfood,what is eaten,meal | dish,,\ncake,,,"a slice of cake|icing, sugar",food\n'
TABS = "name\tdefinition\tsynonyms\texamples\tparent\nfood\twhat is eaten\tmeal|dish\t\t\n"
TURTLE = """
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix : <http://example.org/> .
:food a skos:Concept ; skos:prefLabel "food"@en, "Essen"@de ; skos:definition "what is eaten"@en ;
  skos:altLabel "meal"@en, "dish"@en, "Gericht"@de ; skos:narrower :cake .
:cake a skos:Concept ; skos:prefLabel "cake" ; skos:example "a slice of cake", "icing, sugar" .
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_every_format_gives_the_same_concepts(tmp_path: Path) -> None:
    objects = [
        {"name": "food", "description": "what is eaten", "words": ["meal", "dish"]},
        {"label": "cake", "examples": ["a slice of cake", "icing, sugar"], "parent": "food"},
    ]
    by_name = {"food": {"definition": "what is eaten", "words": "meal|dish"}, "cake": objects[1]}
    sources: list[Any] = [
        [FOOD, CAKE],
        objects,
        by_name,
        write(tmp_path, "a.csv", ROWS),
        write(tmp_path, "a.tsv", f"{TABS}cake\t\t\ta slice of cake|icing, sugar\tfood\n"),
        write(tmp_path, "a.json", json.dumps(objects)),
        str(write(tmp_path, "b.json", json.dumps(by_name))),
        write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, objects))),
    ]
    for source in sources:
        assert read_taxonomy(source) == (FOOD, CAKE)
    cake, food = read_taxonomy(write(tmp_path, "a.ttl", TURTLE))
    assert cake == CAKE
    assert (food.name, food.description, set(food.words)) == ("food", "what is eaten", {"meal", "dish"})


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c"])
def test_only_line_feeds_end_a_line_of_a_file(tmp_path: Path, separator: str) -> None:
    cake = DefinedConcept("cake", f"sweet{separator}and baked")
    rows = f"name,description\r\ncake,{cake.description}\r\nsoup,hot\r\n"
    objects = [{"name": "cake", "description": cake.description}, {"name": "soup", "description": "hot"}]
    # JSON requires that U+000B and U+000C are escaped.
    lines = "\r\n".join(json.dumps(one, ensure_ascii=separator < " ") for one in objects)
    for path in (
        write(tmp_path, "a.csv", rows),
        write(tmp_path, "a.tsv", rows.replace(",", "\t")),
        write(tmp_path, "a.jsonl", lines),
    ):
        assert read_taxonomy(path) == (cake, DefinedConcept("soup", "hot"))


def test_blank_words_and_examples_are_left_out_of_every_format(tmp_path: Path) -> None:
    blank = ["", "  ", "\u200b", "hot"]
    literals = ", ".join(json.dumps(text) for text in blank)
    turtle = f'a skos:Concept ; skos:prefLabel "soup" ; skos:altLabel {literals} ; skos:example {literals} .'
    prefixes = "@prefix skos: <http://www.w3.org/2004/02/skos/core#> .\n@prefix : <http://example.org/> .\n"
    fields = {"words": blank, "members": blank}
    sources: list[Any] = [
        [DefinedConcept("soup", "", tuple(blank), tuple(blank))],
        {"soup": fields},
        write(tmp_path, "a.csv", f"name,words,texts\nsoup,{'|'.join(blank)},{'|'.join(blank)}\n"),
        write(tmp_path, "a.json", json.dumps([{"name": "soup", **fields}])),
        write(tmp_path, "a.ttl", f"{prefixes}:soup {turtle}"),
    ]
    for source in sources:
        assert read_taxonomy(source) == (DefinedConcept("soup", "", ("hot",), ("hot",)),)
    assert read_taxonomy({"soup": ["", " "]}) == (DefinedConcept("soup"),)


def test_a_deep_hierarchy_is_read_in_time() -> None:
    chain = [{"name": f"c{n}", "broader": f"c{n + 1}"} for n in range(3_999)] + [{"name": "c3999"}]
    assert len(read_taxonomy(chain)) == 4_000


def test_short_forms() -> None:
    assert read_taxonomy(["delay", "price"]) == (DefinedConcept("delay"), DefinedConcept("price"))
    assert read_taxonomy({"delay": "late", "price": ["5 euros"]}) == (
        DefinedConcept("delay", "late"),
        DefinedConcept("price", examples=("5 euros",)),
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "there are none"),
        ({"a": "x", "A": "y"}, "more than once"),
        ([{"name": "a", "broader": "b"}], "'b', which is not among them"),
        ([{"name": "a", "broader": "b"}, {"name": "b", "broader": "a"}], "a circle: 'a' below 'b' below 'a'"),
        ([{"description": "x"}], "no name"),
        ([{"name": " "}], "no name"),
        ([{"name": "a" * 201}], "no name of 1 to 200 characters"),
        ([{"name": "a", "description": 5}], "an int where a text is needed"),
        ([{"name": "a", "examples": [None]}], "a NoneType|no value"),
        ([{"name": "a", "examples": 5}], "Give a list of texts"),
        ([5], "an int"),
        (5, "Give a file, a list"),
        ([f"c{n}" for n in range(20_001)], "more than 20,000"),
        ([{"name": "a", "description": "x" * 100_001}], "100,001 characters"),
    ],
)
def test_unusable_concepts_are_refused(given: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_taxonomy(given)


@pytest.mark.parametrize(
    "name", ["x\ud800", "red\x1b[31m\ncard", "!!!", "\u200b", "pay\u200bday", "a\tb", "\u202eabc"]
)
def test_a_name_that_cannot_be_a_label_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    two = [{"name": "soup"}, {"name": name}]
    sources: list[tuple[str, Any]] = [
        ("entry 2 of a list", ["soup", name]),
        ("entry 2 of a mapping", {"soup": "hot", name: "cold"}),
        (r"entry 2 of '.*a.json'", write(tmp_path, "a.json", json.dumps(two))),
        (r"entry 2 of '.*b.json'", write(tmp_path, "b.json", json.dumps({"soup": "hot", name: "cold"}))),
        (r"line 3 of '.*a.jsonl'", write(tmp_path, "a.jsonl", "\n\n".join(map(json.dumps, two)))),
    ]
    if name.isascii():
        ends = 3 + name.count("\n")
        sources.append((rf"line {ends} of '.*a.csv'", write(tmp_path, "a.csv", f'name\nsoup\n"{name}"\n')))
        turtle = f"{TURTLE}:odd a skos:Concept ; skos:prefLabel {json.dumps(name)} ."
        sources.append((r"http://example.org/odd of '.*a.ttl'", write(tmp_path, "a.ttl", turtle)))
    for place, source in sources:
        with pytest.raises(InvalidInputError, match="not a line with a word in it") as refused:
            read_taxonomy(source)
        assert re.search(place, refused.value.asked), refused.value.asked


@pytest.mark.parametrize("part", ["description", "words", "examples", "broader"])
def test_texts_with_half_a_surrogate_pair_are_refused(part: str) -> None:
    value = "ab\udc00" if part in {"description", "broader"} else ["x", "ab\udc00"]
    with pytest.raises(InvalidInputError, match="no valid Unicode at character 3 of a text"):
        read_taxonomy([{"name": "soup", part: value}])


def test_names_are_stripped() -> None:
    concepts = [
        DefinedConcept(" food\n"),
        {"name": "cake", "broader": " food "},
        {"name": "a", "broader": " "},
    ]
    assert [(one.name, one.broader) for one in read_taxonomy(concepts)] == [
        ("food", None), ("cake", "food"), ("a", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.xlsx", "", "Use .csv or"),
        ("a.json", "{", "cannot be read"),
        ("a.json", "[" * 100_000, "cannot be read"),
        ("a.json", "5", "Give a list, or an object"),
        ("a.ttl", "no turtle", "cannot be read"),
        ("a.rdf", "<no", "cannot be read"),
        ("a.ttl", "", "there are none"),
        ("a.csv", "name\n", "there are none"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_taxonomy(write(tmp_path, name, text))
    with pytest.raises(NotFoundError):
        read_taxonomy(tmp_path / "absent.csv")


def test_english_is_read_first_then_texts_without_a_language(tmp_path: Path) -> None:
    text = (
        TURTLE
        + """
:day a skos:Concept ; skos:prefLabel "Zahltag", "payday"@en-GB, "jour de paie"@fr ;
  skos:definition "Tag des Lohns", "when wages are paid"@en ; skos:altLabel "Lohntag", "wage day"@en .
:bank a skos:Concept ; skos:prefLabel "Bank", "banque"@fr, "banke"@enm ;
  skos:altLabel "Institut", "banka"@cs .
:card a skos:Concept ; skos:prefLabel "carte"@fr, "Karte"@de ."""
    )
    bank, _, card, day, _ = read_taxonomy(write(tmp_path, "a.ttl", text))
    assert day == DefinedConcept("payday", "when wages are paid", ("wage day",))
    assert bank == DefinedConcept("Bank", "", ("Institut",))
    assert card.name == "Karte"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (":pie skos:broader :food, :cake .", "food"),
        (":pie skos:broader :unknown, :cake, :food .", "cake"),
        (":food skos:narrower :pie . :cake skos:narrower :pie .", "food"),
        (":food skos:narrower :pie . :pie skos:broader :cake .", "cake"),
    ],
)
def test_of_several_broader_concepts_the_first_of_the_file_is_taken(
    tmp_path: Path, said: str, expected: str
) -> None:
    text = f'{TURTLE}:pie a skos:Concept ; skos:prefLabel "pie" . {said}'
    above = {one.name: one.broader for one in read_taxonomy(write(tmp_path, "a.ttl", text))}
    assert above["pie"] == expected


def test_concepts_of_one_name_are_told_apart_by_what_is_above_them(tmp_path: Path) -> None:
    text = TURTLE + ':other a skos:Concept ; skos:prefLabel "Food"; skos:broader :cake .'
    names = {one.name: one.broader for one in read_taxonomy(write(tmp_path, "a.ttl", text))}
    assert names == {"food": None, "cake": "food", "Food (cake)": "cake"}


def test_xml_reads_no_other_file_and_expands_no_bomb(tmp_path: Path) -> None:
    secret = write(tmp_path, "secret.txt", "secret words")
    concept = (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:skos="http://www.w3.org/2004/02/skos/core#"><skos:Concept rdf:about="http://e.org/a">'
        "<skos:prefLabel>name &x;</skos:prefLabel></skos:Concept></rdf:RDF>"
    )
    outside = write(tmp_path, "a.rdf", f'<!DOCTYPE r [<!ENTITY x SYSTEM "{secret.as_uri()}">]>{concept}')
    assert "secret" not in str(read_taxonomy(outside))
    nested = "".join(f'<!ENTITY x{n} "{f"&x{n - 1};" * 20}">' for n in range(1, 9))
    bomb = f'<!DOCTYPE r [<!ENTITY x0 "{"a" * 1000}">{nested}<!ENTITY x "&x8;">]>{concept}'
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_taxonomy(write(tmp_path, "b.rdf", bomb))
