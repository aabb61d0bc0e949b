"""Builds the vocabulary from the corpora and writes its files: `python -m benchmarks.vocabulary`."""

from benchmarks.corpora import CachedEncoder
from benchmarks.vocabulary.concept import save
from benchmarks.vocabulary.subjects import subjects, with_words
from benchmarks.vocabulary.texts import read_texts
from benchmarks.vocabulary.wordnet import WordNet
from benchmarks.vocabulary.words import candidates, chosen, measured

if __name__ == "__main__":
    wordnet, encoder = WordNet(), CachedEncoder()
    shown = read_texts(wordnet, encoder)
    words = chosen(wordnet, shown, measured(wordnet, shown, candidates(wordnet, shown), encoder))
    save(*with_words(*subjects(wordnet, shown, encoder), *words))
