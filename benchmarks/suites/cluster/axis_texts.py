"""Descriptions of values that no property query describes, and utterances; no text is from a corpus."""

from __future__ import annotations

from collections.abc import Mapping

Field = tuple[str, str]

OWN: Mapping[Field, Mapping[str, str]] = {
    ("goemotions", "ekman"): {
        "joy": "happy and joyful",
        "anger": "angry and furious",
        "sadness": "sad",
        "fear": "afraid, scared",
        "disgust": "disgusted, finding something gross",
        "surprise": "surprised, did not expect it",
    },
    ("masc_registers", "mode"): {"spoken": "transcribed spoken language", "written": "written language"},
    ("nlupp", "domain"): {"banking": "about banking", "hotels": "about hotels"},
    ("product_reviews", "product"): {
        "Creative_Labs_Nomad_Jukebox_Zen_Xtra_40GB": "the Creative Nomad Jukebox Zen Xtra music player",
        "MicroMP3": "the MicroMP3 player",
        "Apex_AD2600_Progressive_scan_DVD player": "the Apex DVD player",
        "Linksys_Router": "the Linksys router",
        "Canon_G3": "the Canon G3 camera",
        "Nokia_6600": "the Nokia 6600 phone",
        "Nokia_6610": "the Nokia 6610 phone",
        "ipod": "the iPod",
        "norton": "Norton antivirus software",
        "Hitachi_router": "the Hitachi router",
        "Diaper_Champ": "the Diaper Champ diaper pail",
        "Canon_S100": "the Canon S100 camera",
        "Nikon_coolpix_4300": "the Nikon Coolpix 4300 camera",
        "Canon_PowerShot_SD500": "the Canon PowerShot SD500 camera",
    },
    ("us_speeches", "kind"): {
        "inaugural": "an inaugural address",
        "state_of_the_union": "a State of the Union address",
    },
}

_JOY = ("This made my day, thank you so much!", "I love it, great job.", "Haha, that is wonderful news.")
_BAD = ("This is awful and it makes me so mad.", "I hate this, what a terrible idea.", "That is really sad.")

UTTERANCES: Mapping[Field, Mapping[str, tuple[str, ...]]] = {
    ("goemotions", "ekman"): {
        "joy": _JOY,
        "anger": ("Shut up, you idiot.", "This makes me so mad.", "I am sick of these people."),
        "sadness": ("I miss him every day.", "That is heartbreaking, I am so sorry.", "I feel so alone."),
        "fear": ("That is terrifying.", "I am scared to go out at night.", "I am so nervous about tomorrow."),
        "disgust": (
            "Ew, that is gross.",
            "This makes me want to throw up.",
            "What a disgusting thing to do.",
        ),
        "surprise": ("Wow, I did not expect that!", "Wait, what? Really?", "I wonder how that happened?"),
    },
    ("goemotions", "polarity"): {"positive": _JOY, "negative": _BAD},
    ("masc_registers", "mode"): {
        "spoken": (
            "Uh, yeah, I mean, you know, it was like, okay.",
            "So what did you say then? Well, um, I don't know.",
            "Thank you, Mr. Speaker. Could you repeat the question, please?",
        ),
        "written": (
            "The committee published its annual report on Tuesday.",
            "She closed the door behind her and walked down the narrow street.",
            "Please find attached the documents that you requested.",
        ),
    },
    ("product_reviews", "polarity"): {
        "positive": ("It works great and I love it.", "Excellent quality, highly recommended."),
        "negative": ("It broke after a week.", "The worst thing about it is that it keeps failing."),
        "mixed": ("It is good, but the battery is poor.", "I like the design, although it is slow."),
    },
    ("scicite", "citation_intent"): {
        "background": (
            "Several studies have shown that the disease is associated with age (Smith et al., 2004).",
            "It is well known that this protein plays a role in cell growth [12].",
        ),
        "method": (
            "The analysis was performed as described previously (Smith et al., 2004).",
            "We used the algorithm of Jones [7] to estimate the parameters.",
        ),
        "result": (
            "Our results are consistent with those reported by Smith et al. (2004).",
            "In contrast to earlier findings [7], we observed no difference between the groups.",
        ),
    },
    ("sentence_polarity", "sentiment"): {
        "positive": (
            "a moving and beautifully acted film.",
            "funny, touching and smart from start to finish.",
            "one of the best movies of the year.",
        ),
        "negative": (
            "a dull, lifeless and predictable mess.",
            "the jokes fall flat and the plot makes no sense.",
            "a waste of time and talent.",
        ),
    },
    ("subjectivity", "subjectivity"): {
        "subjective": (
            "a moving and beautifully acted film.",
            "the jokes fall flat and the plot is silly.",
        ),
        "objective": (
            "a young man travels to the city to find his brother.",
            "she discovers that her husband has been lying about his past.",
        ),
    },
    ("tweeteval_stance", "stance"): {
        "favor": (
            "I stand with her, we need this now. #support",
            "Everyone deserves equal rights. #yes",
            "So proud of what this movement has done!",
        ),
        "against": (
            "Stop these lies, wake up people. #never",
            "This is wrong and I will never vote for it.",
            "They are ruining our country.",
        ),
    },
    ("us_speeches", "kind"): {
        "inaugural": (
            "My fellow citizens, I take this oath before you and before Almighty God.",
            "Let us go forward together, with faith in our destiny as a people.",
        ),
        "state_of_the_union": (
            "I ask the Congress to pass this bill this year.",
            "Last year our economy created a million new jobs, and the budget deficit fell.",
        ),
    },
    ("us_speeches", "party"): {
        "Republican": (
            "We must cut taxes, limit government and let free enterprise work.",
            "A strong defense keeps the peace.",
        ),
        "Democratic": (
            "We must protect working families, health care and Social Security.",
            "Government has a duty to help those who are left behind.",
        ),
    },
}
