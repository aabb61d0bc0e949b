"""Named concepts as a person types them: ``name=…``, with further parts behind semicolons.

``sad=feeling sad; against: being happy; share: 0.05`` is a description, ``sad=like: id1, id2; unlike: id3``
shows it, ``sad=#12, #1041@strong`` are features at a level, ``music=metadata.topic=music`` a metadata value.
``field: prompt`` looks for it in a further text field.
"""

from __future__ import annotations

import json
import re
from typing import Any

from saeindex.analysis.named import NamedConcept
from saeindex.errors import InvalidInputError

LEVELS = ("present", "typical", "strong")
DO = "Write NAME=DESCRIPTION, NAME=like: ID, ID, NAME=#12,#41@strong or NAME=metadata.FIELD=VALUE."
_PART = re.compile(r"(like|unlike|against|share|field):(.*)", re.DOTALL)
_FEATURES = re.compile(r"#\d+(?:\s*,\s*#\d+)*(?:@(\w+))?")
_METADATA = re.compile(r"(metadata\.[^=\s]+)\s*=\s*(.*)", re.DOTALL)


def parse_concept(text: str) -> NamedConcept:
    """Return the concept that a text names; InvalidInputError says how to write one."""
    name, equals, said = text.partition("=")
    name = name.strip()
    if not equals or not name or not said.strip():
        raise InvalidInputError(f"concept {text!r}", "no name, or nothing that says what it is", DO)
    options: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in said.split(";"))):
        found = _PART.fullmatch(part)
        if found is not None:
            _add_part(options, found[1], found[2].strip(), text)
        else:
            _add_meaning(options, part, text)
    return NamedConcept(name, **options)


def _add_part(options: dict[str, Any], key: str, value: str, text: str) -> None:
    if key in ("like", "unlike"):
        ids = [one.strip() for one in value.split(",") if one.strip()]
        options[key] = [*options.get(key, []), *ids]
    elif key == "against":
        options[key] = [*options.get(key, []), value]
    elif key == "field":
        options[key] = value
    else:
        try:
            options[key] = float(value)
        except ValueError:
            raise InvalidInputError(f"concept {text!r}", f"the share {value!r} is no number", DO) from None


def _add_meaning(options: dict[str, Any], part: str, text: str) -> None:
    """Read a part as features, a metadata value or a description."""
    if options.keys() & {"features", "metadata", "description"}:
        raise InvalidInputError(f"concept {text!r}", f"a second meaning {part!r}", DO)
    features, metadata = _FEATURES.fullmatch(part), _METADATA.fullmatch(part)
    if features is not None:
        level = features[1] or "typical"
        if level not in LEVELS:
            raise InvalidInputError(
                f"concept {text!r}", f"level {level!r}", f"Use one of {', '.join(LEVELS)}."
            )
        options["features"] = [int(number) for number in re.findall(r"\d+", part.partition("@")[0])]
        options["level"] = level
    elif metadata is not None:
        options["metadata"], options["value"] = metadata[1], _value(metadata[2].strip())
    else:
        options["description"] = part


def _value(text: str) -> Any:
    """Return a number or a truth value where the text is one in JSON, else the text (without quotes)."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
