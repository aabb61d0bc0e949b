"""Packs the dictionary of named concepts that comes with the package: `python -m benchmarks.evidence.pack`.

It has the words of each concept of the default space, in its order; the sentences that readers judged of
those corpora whose texts may be shipped, by which evidence is fitted for an encoder, and measured; and, in a
file of their own, the names and definitions of WordNet's `fit` part, which autoencoders are trained on.
"""

from __future__ import annotations

import json
import lzma
from collections import defaultdict

from benchmarks import data
from benchmarks.evidence.dictionary import read_dictionary
from benchmarks.evidence.pairs import EXAMPLES, read_pairs, sentence_at
from saeindex.features.dictionary import DEFINITIONS, DICTIONARY, USES

SHIPPED = (
    EXAMPLES, "medquad", "gsm8k", "arxiv_train", "clinc150", "nlupp", "masc_registers", "nq_open",
)  # fmt: skip
# The files of judged pairs, and the parts of corpora that their sentences are of, by what they are used for.
FILES = dict(zip(USES, (("fit", "fit"), ("records", "choose"), ("choose", "choose")), strict=True))


def main() -> None:
    """Read, write, and print what is in it."""
    entries = read_dictionary()
    number = {entry.former: row for row, entry in enumerate(entries)}
    judged, pairs, seen = list[list[object]](), 0, set[str]()
    for use, (name, part) in FILES.items():
        by_sentence = defaultdict[str, dict[int, int]](dict)
        for one in read_pairs(name):
            if one.corpus in SHIPPED and one.concept in number:
                sentence = sentence_at(part, one.corpus, one.record, one.place)
                if sentence not in seen:  # some are in both parts
                    by_sentence[sentence][number[one.concept]] = one.answer
        seen |= {*by_sentence}
        judged += [[use, sentence, answers] for sentence, answers in by_sentence.items()]
        pairs += (count := sum(map(len, by_sentence.values())))
        print(f"{use}: {count:,} pairs in {len(by_sentence):,} sentences")
    content = json.dumps({"words": [entry.words for entry in entries], "judged": judged}, ensure_ascii=False)
    defined = sorted({one.text for one in data.read("oewn", "fit")})
    for file, text in ((DICTIONARY, content), (DEFINITIONS, "\n".join(defined))):
        file.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
        print(f"{file.name}: {file.stat().st_size:,} bytes")
    print(f"{len(entries):,} concepts, {pairs:,} pairs, {len(defined):,} definitions")


if __name__ == "__main__":
    main()
