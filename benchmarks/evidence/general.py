"""The words of general English, which are no terms of a collection: `python -m benchmarks.evidence.general`.

They are in base form those of `fit` parts of eight of sixteen corpora, and those of five that are as common
as the words that readers looked over for the dictionary: what the dictionary lacks of these, they left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from benchmarks import data
from saeindex.features import terms
from saeindex.features.lexicon import TOKEN
from saeindex.language.lemmas import base_form

CORPORA = (
    "arxiv_train", "clinc150", "goemotions", "gsm8k", "masc_registers", "medquad", "nlupp", "nq_open",
    "scicite", "sentence_polarity", "sgd", "stackoverflow_titles", "subjectivity", "topical_chat",
    "tweeteval_stance", "wikisplit",
)  # fmt: skip
RECORDS = 6_000
# Corpora that have a general word; and those that have one of at least this mean share of records, which is
# that of the rarest word that was looked over.
MANY, SOME, COMMON = 8, 5, 6.7e-4


def general_words() -> list[str]:
    """Return the words, ascending."""
    shares, corpora = defaultdict[str, float](float), Counter[str]()
    for corpus in CORPORA:
        records = [one.text for one in data.read(corpus, "fit", RECORDS)]
        used = Counter(
            base
            for text in records
            for base in {base_form(token[0].lower()) for token in TOKEN.finditer(text)}
        )
        for base, count in used.items():
            shares[base] += count / len(records) / len(CORPORA)
            corpora[base] += 1
    return sorted(
        base for base, count in corpora.items() if count >= MANY or (count >= SOME and shares[base] >= COMMON)
    )


if __name__ == "__main__":
    found = general_words()
    terms.WORDS_FILE.write_text("\n".join(found) + "\n", "utf-8")
    print(f"{len(found):,} words")
