"""Several pictures as one: SVG drawings below each other."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Python's own reader of XML: these drawings were made here, and hold neither entities nor references.
from xml.etree import ElementTree

SVG = "http://www.w3.org/2000/svg"
BETWEEN = 36.0


def stacked(drawings: Sequence[str]) -> str:
    """Return one SVG drawing of all, from top to bottom, each at the left."""
    ElementTree.register_namespace("", SVG)
    parts = [ElementTree.fromstring(drawing) for drawing in drawings]  # noqa: S314
    whole = ElementTree.Element(f"{{{SVG}}}svg", {"version": "1.1"})
    top = 0.0
    for place, part in enumerate(parts):
        _name_apart(part, f"p{place}-")
        part.set("y", f"{top:g}")
        whole.append(part)
        top += float(part.get("height", 0)) + BETWEEN
    wide, high = max(float(part.get("width", 0)) for part in parts), top - BETWEEN
    whole.attrib |= {"width": f"{wide:g}", "height": f"{high:g}", "viewBox": f"0 0 {wide:g} {high:g}"}
    ground = ElementTree.Element(f"{{{SVG}}}rect", {"width": "100%", "height": "100%", "fill": "white"})
    whole.insert(0, ground)
    return ElementTree.tostring(whole, encoding="unicode")


def _name_apart(part: ElementTree.Element, prefix: str) -> None:
    """Give the names inside a drawing a prefix: clips and gradients of two drawings have the same ones."""
    for element in part.iter():
        if name := element.get("id"):
            element.set("id", prefix + name)
        for attribute, value in element.items():
            if "url(#" in value:
                element.set(attribute, re.sub(r"url\(#", f"url(#{prefix}", value))
