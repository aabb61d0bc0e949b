"""What a question in plain English leaves out: "the causes of gout, but not how it is treated".

A question is split where a phrase that leaves something out ("but not", "except for", "without going into")
stands in a request for texts or information, or, less surely, behind a few words that name a thing: then it
is for the index to say whether it has texts on that. What describes a thing by what it lacks ("a phone
without a headphone jack"), says what is not so ("why do I not get mails") or denies another word ("not
only") is left as it is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Longer texts are no questions: they are pasted. A few words name a thing.
MOST_WORDS, MOST_LEFT_OUT, FEW = 40, 14, 9
# Parts of the patterns below: what is told, how, and of what; where a phrase begins; what is left out.
_INFO = (
    r"(?:pages?|info|information|details?|stuff|results?|articles?|discussion|talk|material|coverage|bits?"
    r"|parts?)"
)
_TELL = (
    r"(?:mention|discuss|cover|includ|tell|talk|explain|describ|go\ into|going\ into|get\ into|getting\ into"
    r"|touch|show|giv|list|dwell|need|want|care|caring|look(?:ing)?\ for|interested\ in|ask|bother|hear|see"
    r"|read)(?:e|ing|s)?(?:\ me)?(?:\ up)?"
)
_ABOUT = r"(?:about|on|regarding|concerning|of|for|to|over|related\ to|dealing\ with|involving|from)"
_BEGIN, _BREAK = r"[\s,;:.(–—?!-]*", r"(?:^|[,;:.(–—?!-]\s*|\b(?:but|and|please|just|so|only)\s+)"
_OUT, _SHORT_OUT = r"(?P<out>[^.;?!]+)", r"(?P<out>[^,.;?!]{3,60}?)"
_LINKS = r"(?:but|and|just|though|although|only|however|also|please|that|which|is|are|with)"
_NOT = r"(?:\bnot|(?<=do|es|ld|re|is)n['’]t|\bnever|\brather\s+not)"
_STRESS = r"(?:\s+(?:really|particularly|so\ much|at\ all|to|be|necessarily|anything|even))*"
_TOLD = rf"{_TELL}(?:\s+(?:any|anything|to\ (?:know|see|hear|read|discuss)))*(?:\s+{_ABOUT})?"
# What leaves something out whatever else a question says, and, where it is False, less surely.
_SURE = [
    (re.compile(pattern, re.VERBOSE | re.IGNORECASE), is_sure)
    for pattern, is_sure in {
        # "but I do not want to hear about …", "nothing about …", "without going into …"
        rf"""{_BEGIN}(?:\b{_LINKS}\b[\s,]*)*
        (?:\b(?:i|you|we|it|they)\b(?:\s+|(?=')))?
        (?:\b(?:do|does|am|are|would|should|is)\s*|['’](?:m|d|re)\s+)?
        (?:{_NOT}{_STRESS}\s+(?:{_TOLD}|about|regarding|including)
          |\bnothing\s+{_ABOUT}
          |\bno\s+(?:need\s+(?:to\s+{_TELL}|for)(?:\s+{_ABOUT})?|mention\s+of|{_INFO}\s+{_ABOUT})
          |\b(?:without|rather\s+than)\s+(?:any\s+|the\s+)?
            (?:{_TELL}(?:\s+{_ABOUT})?|mention\s+of|reference\s+to|{_INFO}\s+{_ABOUT})
        )\s+{_OUT}""": True,
        # "leave out …", "with the exception of …"
        rf"""{_BEGIN}{_BREAK}(?:please\s+)?
        (?:omit|omitting|leav(?:e|ing)\s+(?:out|aside)|disregard|disregarding|setting\s+aside|filter\s+out
          |spare\s+me|with\s+the\s+exception\s+of)(?:\s+{_ABOUT})?:?\s+{_OUT}""": True,
        # "… isn't what I'm after"
        rf"""{_BREAK}(?:(?:but|and|though)\s+)?{_SHORT_OUT}\s+(?:is|are)(?:n['’]t|\s+not)\s+(?:what\s+i|of\s+interest)
        [^.;?!]*""": True,
        # "we already know …"
        rf"""{_BEGIN}\b(?:i|we)(?:['’]ve|\s+have)?\s+(?:already\s+(?:know|understand|have|got|read)|understand
          |know\s+all|read\s+all)(?:\s+{_ABOUT})?\s+(?P<out>[^,.;?!]+)""": False,
        # "skip …", "steer clear of …"
        rf"""{_BEGIN}{_BREAK}(?:please\s+)?
        (?:exclude|excluding|skip|skipping|ignore|ignoring|drop|(?:steer|keep)\s+clear\s+of
          |(?:stay|keep)\s+away\s+from)(?:\s+{_ABOUT})?:?\s+{_OUT}""": False,
        # "no treatment pages", "without treatment info"
        rf"""[\s,;:(–—-]*\b(?:no|without)\s+(?P<out>(?:[\w-]+\s+){{0,4}}[\w-]+)\s+{_INFO}\b
        (?:\s+please)?(?=$|[,.:;!)])""": True,
        # "keep … out of it", "leaving … to one side"
        rf"""{_BREAK}(?:keep|leav(?:e|ing))\s+{_SHORT_OUT}\s+
        (?:out(?:\s+of\s+(?:it|this))?|to\s+one\s+side|aside)\b""": False,
        # "… can be left out", "… aside", "… excluded"
        rf"""{_BREAK}(?:(?:but|and|though)\s+)?{_SHORT_OUT}\s+(?:(?:can|could|may)\s+(?:be\s+left|stay)\s+out|aside|excluded
          |not\s+(?:required|needed|wanted))(?=$|[,.;!)])""": False,
    }.items()
]
# What does so behind a request for information, or, but for the last three, behind a few words.
_LIKELY = re.compile(
    rf"""[\s,;:(–—-]*\b(?:and\s+|but\s+)?(?:
      (?P<few>but\s+not|just\s+not|except\s+for|except|excepting|excluding|exclude|leaving\s+out|omitting
        |ignoring|other\s+than|apart\s+from|aside\s+from|besides|minus|sans|save\s+for|as\s+opposed\s+to
        |anything\s+but|everything\s+but|not(?!\s+\w+(?:ing|ed)\b))
      |rather\s+than|without|no
    ):?\s+{_OUT}""",
    re.VERBOSE | re.IGNORECASE,
)
_REQUEST = re.compile(
    rf"""\b(?:{_INFO}|overviews?|everything|(?:anything|all)\s+(?:about|on)|texts?|documents?|docs|literature
    |facts|guides?|papers?|resources|sources|topics?|background|summary|basics|aspects?|passages?|records?
    |entries|tell\s+me|explain|describe|(?:to|i|we|you|should)\s+(?:know|learn|read)|read\s+up|show\s+me
    |looking\s+for|about)\b""",
    re.VERBOSE | re.IGNORECASE,
)
# A few words with one of these are a sentence, which names no thing.
_SENTENCE = re.compile(
    r"""\b(?:how|why|can|cannot|can't|could|do|does|did|is\s+it|don't|won't|was|were|when|where|i|my|he|she|if
    |never|use|used|every|nobody|nothing|no)\b""",
    re.VERBOSE | re.IGNORECASE,
)
# What begins no thing that is left out: idioms, and what is or is not so.
_IDIOM = re.compile(
    r"""(?:only|just|limited|least|necessarily|enough|sure|yet|always|so|too|very|really|able|being|having|to
    |a\s+doubt|doubt|by|in|at|over|fail|further|exception|question|that|because|if|when\s+i|under|using|taking
    |getting|paying|much|many|with|but|be|been|is|are|was|were|do|does|did|have|has|had|can|could|will
    |would|should|i|you|we|they|he|she|it|one|two|on)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_LEADING = re.compile(
    r"""^(?:any|anything|the|its|their|his|her|all|that|those|these|some|things?|stuff|on|about|of|for|over
    |part)\s+""",
    re.VERBOSE | re.IGNORECASE,
)
_TRAILING = re.compile(
    rf"""(?:[\s,]+(?:please|pls|thanks|thank\ you|though|already|either|at\ all|for\ now|in\ it|this\ time|etc
    |sections?|chapters?|yet|{_INFO}))+[\s!]*$""",
    re.VERBOSE | re.IGNORECASE,
)
_POINTS_BACK = frozenset({"none", "those", "these", "them", "this"})


class Interpreted(NamedTuple):
    """A question as it is understood: what is ``wanted``, and what is not (``unwanted``, "" if nothing is).

    ``is_sure`` if the question says so whatever it is about.
    """

    wanted: str
    unwanted: str = ""
    is_sure: bool = True

    @classmethod
    def of(cls, question: str) -> Interpreted:
        """Split a question at the first phrase that leaves something out."""
        plain = " ".join(question.split())
        if len(plain.split()) > MOST_WORDS:
            return cls(question)
        for found, is_sure in _candidates(plain):
            out, end = found["out"], found.end()
            if not found.start() and (cut := re.search(r"[,:]|\s(?:and|but|just)\s", out)):
                end, out = (
                    found.start("out") + cut.end(),
                    out[: cut.start()],
                )  # "Aside from its causes, what …"
            unwanted = _named(out)
            wanted = f"{plain[: found.start()]} {plain[end:]}".strip(" ,;:.-–—(?!)")
            if unwanted and re.search(r"\w{3}", wanted):
                return cls(wanted, unwanted, is_sure)
        return cls(question)


def _candidates(text: str) -> list[tuple[re.Match[str], bool]]:
    """Return what may leave something out, and whether it does so surely."""
    every = [(one, is_sure) for pattern, is_sure in _SURE for one in pattern.finditer(text)]
    every = [(one, is_sure) for one, is_sure in every if not _IDIOM.match(one["out"])]
    for one in _LIKELY.finditer(text):
        rest, is_few = text[: one.start()], one["few"] is not None
        if _IDIOM.match(one["out"]):
            continue
        if _REQUEST.search(rest) or (not rest and is_few and "," in one["out"]):
            every.append((one, True))
        elif is_few and 0 < len(rest.split()) <= FEW and not _SENTENCE.search(rest):
            every.append((one, False))
    return every


def _named(out: str) -> str:
    """Return what is left out, without what only belongs to the sentence; "" if it is nothing or too much."""
    text = _TRAILING.sub("", out.strip(" ,)!"))
    while (shorter := _LEADING.sub("", text)) != text:
        text = shorter
    is_named = re.search(r"\w{3}", text) and len(text.split()) <= MOST_LEFT_OUT
    return text if is_named and text.casefold() not in _POINTS_BACK else ""
