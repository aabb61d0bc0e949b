"""What a question in plain English leaves out: "the causes of gout, but not how it is treated".

A question is split where a phrase that leaves something out ("but not", "except for", "without going into")
stands in a request for texts or information, or, less surely, behind a few words that name a thing: then it
is for the index to say whether it has texts on that. What describes a thing by what it lacks ("a phone
without a headphone jack"), says what is not so ("why do I not get mails") or denies another word ("not
only") is left as it is. What is written in one way only, a code, a quote or a name, is surely left out right
behind such a word, but in a statement ("it works except for ERR-7").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from saeindex.language.lemmas import is_english
from saeindex.language.literal import is_pasted

_FLAGS = re.VERBOSE | re.IGNORECASE
# Words that are left out at most, and those that name a thing.
MOST_LEFT_OUT, FEW = 14, 9
# Parts of the patterns below: what is told, how, and of what; where a phrase begins; what is left out.
_INFO = (
    r"(?:pages?|info|information|details?|stuff|results?|articles?|discussion|talk|material|coverage|bits?"
    r"|parts?|sections?|chapters?)"
)
_TELL = (
    r"(?:mention|discuss|cover|includ|tell|talk|explain|describ|go\ into|going\ into|get\ into|getting\ into"
    r"|touch|show|say|mean|wish|bring\ up|giv|list|dwell|need|want|care|caring|look(?:ing)?\ for"
    r"|interested\ in|involv|ask|bother|hear|see|read)(?:e|ing|s)?(?:\ me)?(?:\ up)?"
)
_ABOUT = r"(?:about|on|regarding|concerning|of|for|related\ to|dealing\ with|involving|from|with)"
_BEGIN, _BREAK = (
    r"[\s,;:.(–—?!-]*",
    r"(?:^|[,;:.(–—?!]\s*|(?:^|\s)-\s*|\b(?:but|and|please|kindly|just|so|only|can|like\s+to|that"
    r"|which|while|with|sorry)\s+)(?:please\s+)?",
)
# No dot of "4.2.1", of "me@example.com" or of "Mr. Smith" ends what is left out.
_DOT = r"[.?!](?=\w)|(?<=\b(?:Mr|Dr|Ms|St))\.|(?<=\bMrs)\.|(?<=\bProf)\."
_OUT = rf"(?P<out>(?:[^.;?!]|{_DOT})+)"
_SHORT_OUT = rf"(?P<out>(?:(?!\s(?:-|with|but)\s)(?:[^,.;:?!()–—]|{_DOT})){{3,60}}?)"
_LINKS = r"(?:but|and|just|though|although|only|however|also|please|that|which|is|are|with)"
_NOT = (
    r"(?:(?<!\bdoes\ )(?<!\bis\ )(?<!\bcan\ )(?<!\bwill\ )\bnot"
    r"|(?:(?<=\bdo)|(?<=uld)|(?<=\bare)|(?<=eed))n['’]?t\b"
    r"|(?<=that\ |hich\ |ever\ )(?:does|is)(?:\ not|n['’]?t)|\bnever|\b(?:rather|sooner)\s+not)"
)
_STRESS = r"(?:\s+(?:really|particularly|so\ much|at\ all|to|be|necessarily|anything|even))*"
_TOLD = rf"{_TELL}(?:\s+(?:any|anything|to\ (?:know|see|hear|read|discuss)))*(?:\s+{_ABOUT})?"
_DROP = r"(?:drop|avoid|bypass|discard|hide|hiding|suppress|block|remove|cut|ditch|lose)"
# After "not": it says what was not done.
_UNDONE = r"(?!\s+\w+(?:ing\b|ed(?:\s*(?:$|:)|\s+(?:by|to|in|at|with|on|for|from|as)\b)))"
# What leaves something out: whatever else a question says (1), where the index has texts on the rest (2), the
# same of a few words (3), or in a request for information (4), which makes all of them sure.
_SURE, _LIKELY, _FEW, _ASKED = range(1, 5)
_PATTERNS = [
    (re.compile(pattern, _FLAGS), kind)
    for pattern, kind in {
        # "but I do not want to hear about …", "nothing about …", "without going into …"
        rf"""{_BEGIN}(?!(?:but\s+|and\s+)?not\s+(?:see|show|give|list|hear|read|say|need|want)\b)
        (?:\b{_LINKS}\b[\s,]*)*
        (?:\b(?:i|you|u|we|it|they)\b(?:\s+|(?=')))?
        (?:\b(?:do|does|am|are|would|should|is|can|need)\s*|['’](?:m|d|re)\s+)?
        (?:{_NOT}{_STRESS}\s+(?:{_TOLD}|about|regarding|including)
          |\b(?:(?:nothing|enough)\s+(?:about|on|of|to\s+do\s+with)|(?:unrelated|not\s+related|no\s+regard)\s+to)
          |\b(?:no|have\s+no)\s+(?:need\s+(?:to\s+{_TELL}|for)(?:\s+{_ABOUT})?|(?:mention|interest|use)\s+\w+
            |{_INFO}\s+{_ABOUT})
          |\b(?:without|rather\s+than|instead\s+of|refrain\w*\s+from|stop)\s+(?:any\s+|the\s+|please\s+)?
            (?:{_TELL}(?:\s+{_ABOUT})?|mention\s+of|reference\s+to|{_INFO}\s+{_ABOUT})
        )\s+{_OUT}""": _SURE,
        # "leave out …", "with the exception of …"
        rf"""{_BEGIN}{_BREAK}
        (?:omit|omitting|leav(?:e|ing)\s+(?:out|aside|off)|disregard|disregarding|setting\s+aside
          |(?:filter|weed|screen|take|strip)\s+out|spare\s+me|steer(?:ing)?\s+clear\s+of|(?:stay|keep)\w*\s+
          (?:clear\s+of|away\s+from|off))(?:\s+{_ABOUT})?:?\s+{_OUT}""": _SURE,
        # "… isn't what I'm after", "… doesn't matter"
        rf"""{_BREAK}(?:(?:but|and|though)\s+)?{_SHORT_OUT}\s+(?:(?:is|are)(?:n['’]?t|\s+not)\s+(?:what\s+i|of\s+in\w+)
          |(?:does|do)(?:n['’]?t|\s+not)\s+(?:matter|concern|interest|count)|(?:is|are)\s+(?:irrelevant|beside\s+the
          \s+point|of\s+no\s+\w+)|bores?\s+me)[^.;?!]*""": _SURE,
        # "we already know …"
        rf"""{_BEGIN}\b(?:i|we)(?:['’]?ve|\s+have|\s+had)?\s+(?:already\s+(?:know|understand|have|got|read|heard)|understand
          |(?:know|read)\s+(?:all|enough|full\s+well|plenty)|(?:have\s+)?(?:had\s+)?(?:plenty|my\s+fill|enough))
        (?:\s+{_ABOUT})?\s+(?P<out>(?:[^,.;?!]|{_DOT})+)""": _LIKELY,
        # "skip …", "never mind …", and what programs do, too: "remove …"
        rf"""{_BEGIN}{_BREAK}
        (?:exclude|excluding|skip|skipping|ignore|ignoring|sidestep|nix|forget|never\s+mind|rule\s+out
          |pass\s+(?:over|on)|overlook|not\s+counting)(?:\s+{_ABOUT})?:?\s+{_OUT}""": _LIKELY,
        rf"""{_BEGIN}{_BREAK}{_DROP}(?=[^.;?!]*\s(?:about|results?|hits|stats?|{_INFO})\b)
        \s+{_OUT}""": _LIKELY,
        rf"""{_BEGIN}{_BREAK}{_DROP}(?:\s+{_ABOUT})?:?\s+{_OUT}""": _ASKED,
        # "no treatment pages", "without treatment info"
        rf"""[\s,;:(–—-]*\b(?:no|without)\s+(?P<out>(?:[\w-]+\s+){{0,4}}[\w-]+)\s+(?:{_INFO}\b(?:\s+please)?
        |please|pls|thanks)(?=$|[,.:;!)])""": _SURE,
        # "keep … out of it", "leaving … to one side"
        rf"""{_BREAK}(?:keep|leav(?:e|ing)|put(?:ting)?|set(?:ting)?|give)\s+{_SHORT_OUT}\s+
        (?:out(?:\s+of\s+(?:it|this))?|to\s+one\s+side|aside|alone|off|a\s+(?:miss|rest))\b""": _LIKELY,
        # "… can be left out", "… aside", "… excluded"
        rf"""{_BREAK}(?:(?:but|and|though|with)\s+)?{_SHORT_OUT},?\s+(?:(?:can|could|may|need\s+not|needn['’]?t)\s+(?:be\s+\w+
          |stay|go)(?:\s+(?:out|off|aside))?|(?:aside|exclude|except|omitt|remov)(?:e?d)?|(?:left|taken|stripped|edited)
          \s+(?:out|off)|(?:being\s+)?(?:off\s+the\s+table|out\s+of\s+(?:it|the\s+picture))|stays?\s+out|no\s+thanks
          |i(?:['’]ll|\s+will)\s+pass|not\s+(?:required|needed|wanted|included))(?=$|[,.;?!)])""": _LIKELY,
        # "except …", "other than …"
        rf"""{_BEGIN}(?<!\bare\ )(?<!\bis\ )(?<!\bor\ )\b(?:and\s+|but\s+)?
        (?:(?:but|just|only|sorry)\s+not{_UNDONE}
        |exc?ept(?:\s+for)?|excepting|excl(?:uding|ude|\.|usive\s+of)|leaving\s+out|omitting|ignoring|other\s+than
        |(?<!\wing\ )app?art\s+from|aside\s+from|besides|(?<!plus\ )minus(?!\s+(?:\d|\w\b))|sans
        |save\s+(?:for|the|its|those)|bar|barring|but\s+for|as\s+opposed\s+to
        |(?:anything|everything|all)\s+but|discounting|devoid\s+of|(?:with|to)\s+the\s+exc\w+ion\s+of
        |(?-i:NOT)|(?:^|(?<=[,;:(–—.?!-])|(?<=[,;:(–—.?!-]\ ))not{_UNDONE}):?\s+{_OUT}""": _FEW,
        # "without …", "rather than …", "… not …"
        rf"""{_BEGIN}\b(?:not{_UNDONE}|rather\s+than|instead\s+of|beyond|outside\s+of|short\s+of
        |free\s+of|less\s+the|w/o|without|(?:with\s+)?no):?\s+{_OUT}""": _ASKED,
    }.items()
]
_REQUEST = re.compile(
    rf"""\b(?:(?:{_INFO}|texts?|documents?|docs|literature|guides?|papers?|resources|sources|topics?
    |background|summary|basics|aspects?|passages?|records?|entries|write-ups?)\s+{_ABOUT}|info|information|stuff|facts
    |overviews?|(?:everything|whatever)\s+(?:about|on|under|there|you|to|of|else|we|that|concerning|regarding|relat\w+)
    |(?:anything|all)\s+(?:about|on)|tell\s+me|explain|describe|(?:to|i|we|should)\s+(?:know|learn|read)|read\s+up
    |reading|(?:show|give|find|send)\s+me|looking\s+for|(?:the|what)\s+(?:rest|else|remain\w+)|other\s+\w+|about)\b""",
    _FLAGS,
)
# A few words with one of these are a sentence, which names no thing.
_SENTENCE = re.compile(
    r"""^(?:is|are|it|we|they)\b|\b(?:how|why|can(?:not|['’]?t)?|could|do|does|did|is\s+it|(?:do|wo)n['’]?t|was|were|when|where|i|my|he|she
    |if|never|use|used|every|nobody|nothing|no|works?|worked|working|opens|runs|starts|loads|prints|plays|syncs?|connects
    |fails|crash(?:es|ed)|shows|everyone|everybody|gets?|got|receives?|received|ordered|bought|paid|charged|fine|ok(?:ay)?)\b
    |(?:ed|sent)$""",
    _FLAGS,
)
# What begins no thing that is left out: idioms, and what is or is not so.
_IDIOM = re.compile(
    r"""(?:only|just|less|limited|least|necessarily|enough|sure|yet|always|so|too|very|really|able|being|having|to
    |a\s|all\s*$|quite|doubt|by|(?:in|at|on)(?!\s+(?:the\s+)?(?-i:[A-Z]))|over|fail|further|exception|question|that|because|if|when|under|using|taking
    |getting|paying|my|much|many|with|but|be|been|is|are|was|were|do|does|did|have|has|had|can|could|will
    |would|should|i|you|we|they|he|she|it|one|two|or|vs|-)\b""",
    _FLAGS,
)
# Before "not" and the like: it is asked what is not so.
_ASKS = re.compile(r"\b(?:what|which|who|why)(?:\s+(?:do|does|did|is|are))?\s*$", re.IGNORECASE)
# A question on words themselves.
_ON_WORDS = re.compile(
    r"\b(?:meaning|synonym|quote|quotation|lyrics|poem|formula|syntax|grammar|phrase|clause"
    r"|which\s+is\s+more|who\s+said)\b",
    re.IGNORECASE,
)
_LEADING = re.compile(
    rf"""^(?:any|anything|whatever|everything|the|its|their|his|her|all|that|those|these|some|ones|things?|stuff|on|about|of
    |for|from|at|in|over|part|to\s+do\s+with|concern(?:s|ed|ing)|(?:{_INFO}|discussions?|describing|listing)(?=\s+(?:on|of|about)\b))\s+""",
    _FLAGS,
)
_TRAILING = re.compile(
    rf"""(?:[\s,]+(?:please|pls|thanks|thank\ you|though|already|either|at\ all|for\ now|in\ it|this\ time|etc
    |side|angle|yet|ones?|{_INFO}))+[\s!]*$""",
    _FLAGS,
)
# What ends no thing that is wanted.
_DANGLING = re.compile(
    r"(?:[\s,]+(?:for|of|on|about|with|that|which|has|have|is|are|and|or|but|any|anything))+$", re.IGNORECASE
)
# What is left out as it is written: a quote, a code, a version, an amount, an address, a path, C++, a name.
_QUOTED = r"[\"“][^\"“”]*\w[^\"“”]*[\"”]"
_CODE = r"""(?:[\w./-]+@[\w.-]+\w|\w+://[^\s,;]*\w|(?:/[\w.-]*\w){2,}|\w+(?:\+\+|\#)(?!\w)
    |(?<!\w)\.[A-Za-z]\w+|\w+(?:\.[A-Za-z]\w+)+|[#€$£]?\d[\d.,]*\ (?:[€$£%]|°[CF]\b|(?-i:[A-Z]{3})\b)
    |(?=\S*\d)(?!\d{1,2}(?![\w.,/-])|\d+%)[#€$£]?\w(?:[^\s,;“”"()]|,(?=\d))*[\w€$£](?<!\s\w))"""
_CAPITAL = r"(?!(?:I|Please|Thanks)\b)[^\W\d_a-z][\w'’-]*[^\W\d_A-Z][\w'’-]*"
_NAME = (
    rf"(?-i:(?:(?:Mr|Mrs|Ms|Dr|Prof|St)\b\.?\ )?{_CAPITAL}(?:\ (?:(?:van|von|de|der|of|the)\ )*{_CAPITAL})*)"
)
_FILLED = r"""(?:(?:any|all|the|those|ones?|these|from|by|in|at|with|of|about|for|on|to|that|which
    |has|have|having|contain\w*|mention\w*|includ\w+|say\w*|show\w*|version|order|ticket|number|code|error|model|release
    |invoice):?\s+)*"""
_ITEM = rf"{_FILLED}(?:{_QUOTED}|{_CODE}|{_NAME})"
_BETWEEN = r"(?:,?\s+(?:and|or|nor)\s+|[,;]\s+|\s+/\s+)"
_WRITTEN = re.compile(rf"{_FILLED}(?P<said>{_QUOTED}|{_CODE}|(?P<name>{_NAME}))", _FLAGS)
# What leaves it out, right before it. A statement may go on so: "it works, but not with 3.4.1".
_LEAVES_OUT = re.compile(
    rf"""[\s,;(–—-]*(?:(?P<kept>\b(?:all|any|every)\w*(?:\s+\w+){{0,3}}?)\s+but
    |(?:\b(?:but|and|though|although|or|with|just|only)\s+)*(?:
      (?P<not>(?<!\bif\ )(?<!\bis\ )(?<!\bare\ )(?<!\bdoes\ )(?<!\bdo\ )(?<!\bor\ )(?!^)\bnot
        |(?:\bbut|\bwith)\s+(?:no|none)|\bneither)
      |(?:that|which|who)\s+(?:is|are|do|does|was|were|has|have)(?:\s+not|n['’]?t)
      |\bexc?ept(?:ing|\s+for)?|\bother\s+than
      |\bapp?art\s+from|\baside\s+from|\bbesides|\bminus(?!\s+\d+(?!\S))
      |(?<!\bnot\ )\bwithout|\bw/o|\bsans|\bexclud(?:e|es|ing)|\bleav(?:e|ing)\s+out|\bomit(?:s|ting)?
      |\bignor(?:e|ing)|\bskip(?:ping)?|\bhid(?:e|ing)|\black(?:s|ing)?)
    ):?\s+(?P<out>{_ITEM}(?:{_BETWEEN}{_ITEM})*)(?!\w|\s+(?:and|or|nor)\b)""",
    _FLAGS,
)
_STATES = re.compile(
    r"""\b(?:is|are|was|were|has|have|had|will|would|there|pass(?:es)?|boots?|happens?|appears?|seems?|says?
    |comes?|goes|went|nothing|none|nobody|no|never|only)\b""",
    _FLAGS,
)
_WHY = re.compile(r"(?:how|why|when|where|can|could|is|are|do|does|did)\b", re.IGNORECASE)
_ASKS_FOR = re.compile(r"(?:which|what|who|show|list|find|give|search|get|tell)\b", re.IGNORECASE)
_POINTS_BACK = frozenset({"none", "those", "these", "them", "this", "that"})
# Where what is left out ends, if it comes first.
_GOES_ON = re.compile(
    r"[,:]|\s(?:and|but|just)\s|\s(?=(?:show|tell|give|find|send)\s|what\s(?:else|is|are|do|can)\b)"
)


class Interpreted(NamedTuple):
    """A question as it is understood: what is ``wanted``, and what is not (``unwanted``, "" if nothing is).

    ``is_sure`` if the question says so whatever it is about.
    """

    wanted: str
    unwanted: str = ""
    is_sure: bool = True

    @classmethod
    @lru_cache(64)  # a search reads its question several times
    def of(cls, question: str) -> Interpreted:
        """Split a question at the first phrase that leaves something out."""
        plain = " ".join(question.split())
        if is_pasted(question) or _ON_WORDS.search(plain):
            return cls(question)
        if (written := _without_written(plain)) is not None:
            return written
        for found, kind in _candidates(plain):
            out, end = found["out"], found.end()
            if not found.start() and (cut := _GOES_ON.search(out)):  # "Aside from its causes, what …"
                end, out = found.start("out") + cut.end(), out[: cut.start()]
            unwanted = _named(out)
            wanted = f"{plain[: found.start()]} {plain[end:]}".strip(" ,;:.-–—(?!)")
            wanted = _DANGLING.sub("", wanted)
            if unwanted and re.search(r"\w{3}", wanted):
                is_sure = kind == _SURE or _REQUEST.search(wanted) is not None
                is_thing = len(wanted.split()) <= FEW and not _SENTENCE.search(wanted)
                is_few = kind == _FEW and is_thing and not (written_in(unwanted) and _STATES.search(wanted))
                if is_sure or kind == _LIKELY or is_few:
                    has_code = re.search(_CODE, unwanted, _FLAGS) is not None
                    return cls(wanted, unwanted, is_sure or (is_few and has_code))
        return cls(question)


def _candidates(text: str) -> Iterator[tuple[re.Match[str], int]]:
    """Yield what may leave something out, with the kind of its pattern."""
    for pattern, kind in _PATTERNS:
        for one in pattern.finditer(text):
            if not _IDIOM.match(one["out"]) and not _ASKS.search(text[: one.start()]):
                yield one, kind


def _without_written(text: str) -> Interpreted | None:
    """Return a question without what is left out of it as it is written, None if nothing is."""
    for found in _LEAVES_OUT.finditer(text):
        out, before = found["out"], f"{text[: found.start()]} {found['kept'] or ''}"
        wanted = _DANGLING.sub("", f"{before} {text[found.end() :]}".strip(" ,;:.-–—(?!)"))
        is_quoted, is_code = (re.match(form, out, _FLAGS) for form in (_QUOTED, _CODE))
        is_asked = found["kept"] or is_quoted or _ASKS_FOR.match(wanted) or _REQUEST.search(wanted)
        is_bare = found["not"] and is_code
        is_other = is_bare and written_in(before.strip(" ,").rpartition(" ")[2])  # "in 2.4.1 not 2.4.0"
        is_statement = _STATES.search(wanted) or _SENTENCE.search(f"{wanted} .")
        is_read = (is_asked or is_bare or not is_statement) and not is_other and not _WHY.match(wanted)
        if is_read and written_in(out) and re.search(r"[^\W\d_]{3}", wanted):
            return Interpreted(" ".join(wanted.split()), re.sub(rf"^{_FILLED}", "", out, flags=_FLAGS))
    return None


def written_in(unwanted: str) -> list[str]:
    """Return the quotes, codes and names that all of what is left out consists of; [] of other words.

    Names are those with a title, of two words with capitals, or of no dictionary.
    """
    every = [_WRITTEN.fullmatch(one) for one in re.split(_BETWEEN, unwanted)]
    said = [one["said"].strip('"“”') for one in every if one and (not one["name"] or _is_name(one["name"]))]
    return said if len(said) == len(every) else []


def _is_name(written: str) -> bool:
    return " " in written or not is_english(written.lower())


def _named(out: str) -> str:
    """Return what is left out, without what only belongs to the sentence; "" if it is nothing or too much."""
    text = _TRAILING.sub("", out.strip(" ,)!"))
    while (shorter := _LEADING.sub("", text)) != text:
        text = shorter
    is_named = re.search(r"\w{3}|[A-Z]\w", text) or written_in(text)
    is_left_out = is_named and len(text.split()) <= MOST_LEFT_OUT and not text.endswith(" again")
    return text if is_left_out and text.casefold() not in _POINTS_BACK else ""
