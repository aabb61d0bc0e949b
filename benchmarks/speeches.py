"""Write the speeches that come with the package: `python -m benchmarks.speeches`.

State of the Union speeches, `fit` and `choose`, which no model of the package was fitted on: of each year as
many paragraphs, of the same distance from each other, that the encoder reads whole; without the first and the
last, which greet and thank, and without the notes of applause, which nobody said.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from dataclasses import replace
from operator import itemgetter

import numpy as np

from benchmarks import data
from saeindex.samples import SPEECHES
from saeindex.types import Record

A_YEAR, SHORTEST, LONGEST = 17, 200, 1_100
CAPTION = "White House photo"
# A note of who wrote a speech down: [Applause] or (laughter).
NOTES = re.compile(r"\s*[\[(](?:applause|laughter)[^\])]*[\])]", re.IGNORECASE)
PRESIDENTS = {
    "Truman": "Harry S. Truman", "Eisenhower": "Dwight D. Eisenhower", "Kennedy": "John F. Kennedy",
    "Johnson": "Lyndon B. Johnson", "Nixon": "Richard Nixon", "Ford": "Gerald Ford", "Carter": "Jimmy Carter",
    "Reagan": "Ronald Reagan", "Bush": "George H. W. Bush", "Clinton": "Bill Clinton",
    "GWBush": "George W. Bush",
}  # fmt: skip


def chosen() -> list[Record]:
    """Return the paragraphs, named by year and number, in their order."""
    years: dict[int, list[Record]] = defaultdict(list)
    for record in data.read("us_speeches"):
        is_known = record.metadata["kind"] == "state_of_the_union" and record.metadata["part"] != "test"
        text = NOTES.sub("", record.text)
        if is_known and CAPTION not in text and SHORTEST <= len(text) <= LONGEST:
            years[record.metadata["year"]].append(replace(record, text=text))
    found = []
    for year in sorted(years):
        numbered = sorted(((int(one.id.rpartition("-")[2]), one) for one in years[year]), key=itemgetter(0))
        inner = numbered[1:-1]  # the first and the last greet and thank
        places = np.linspace(0, len(inner) - 1, min(len(inner), A_YEAR)).round().astype(int)
        for number, one in (inner[place] for place in places.tolist()):
            said = {"year": year, "president": PRESIDENTS[one.metadata["president"]]}
            found.append(Record(f"{year}-{number}", one.text, said | {"party": one.metadata["party"]}))
    return found


def main() -> None:
    """Write the file."""
    lines = [
        json.dumps({"id": r.id, "text": r.text, "metadata": r.metadata}, ensure_ascii=False) for r in chosen()
    ]
    SPEECHES.write_bytes(gzip.compress("".join(f"{one}\n" for one in lines).encode("utf-8"), mtime=0))
    print(f"{len(lines)} paragraphs, {SPEECHES.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
