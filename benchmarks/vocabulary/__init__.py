"""The vocabulary of the default space: concepts of everyday English that the encoder can tell apart.

A concept is a broad subject ("sport"), a common word or phrase of Open English WordNet, or a kind of thing in
its hierarchy ("fruit", whose markers are "apple", "pear" and so on), with the gloss of the sense that texts
mean. Its *markers* are the words by which a text speaks of it. Half of the texts build a concept's direction
(its name, and the texts with a marker, each about the mean of its corpus), the other half measure how well
the direction finds texts with a marker. Subjects come first; words are taken greedily, first the one that
adds most to what the taken ones cover of everyday texts, every corpus counting alike, and none whose
direction is there already.

`python -m benchmarks.vocabulary` builds it anew, in up to half an hour, and writes the files beside this one.
Only `fit` parts are read, and none of `agnews`, `product_reviews` and `us_speeches`, which judge legibility.
"""

from benchmarks.vocabulary.concept import Concept, load
from benchmarks.vocabulary.wordnet import TOKEN, WordNet

__all__ = ["TOKEN", "Concept", "WordNet", "load"]
