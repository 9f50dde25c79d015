"""When to see a doctor, and when to call for help: static text, never inferred from a signal.

Rule: no word here depends on what was measured. It is in reach from the command, the report and every page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from monitor.correlation.catalogue import DRUG_NOTE

NOT_A_DEVICE: Final = (
    "fasciwatch is not a medical device. It counts twitches; it does not diagnose, and a count cannot tell a "
    "harmless twitch from another."
)


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do, and when."""

    what: str
    signs: tuple[str, ...]


ADVICE: Final = (
    Advice(
        "Call the emergency number now",
        (
            "after possible contact with a pesticide or nerve agent (also the poison centre): sweating, drooling, "
            "tears, vomiting, diarrhoea, small pupils, wheezing, weakness, confusion, a seizure",
            "trouble breathing, or a tight throat",
            "a seizure",
            "sudden weakness, a drooping face, loss of speech",
            "after less or no benzodiazepine: a seizure, hallucinations, confusion",
            "cramps of hands or throat, palpitations or fainting, with diarrhoea, a diuretic or a steroid",
        ),
    ),
    Advice(
        "See a doctor soon",
        (
            "twitching with muscle weakness, wasting or stiffness",
            "slurred or quiet speech, trouble swallowing, choking",
            "twitching of the tongue",
            "clumsy hands, a dropping foot, tripping",
            "breathlessness when lying flat, headache in the morning",
            "weakness of one part that grows without pain",
            "an eyelid that twitches for more than 3 months, or both eyes that are forced shut",
            "new numbness, double vision or trouble with the bladder; an injury of neck or nerve",
            "weakness while on steroids",
        ),
    ),
    Advice(
        "Otherwise",
        (
            "about 7 in 10 healthy people notice twitches; alone, without weakness, they are mostly harmless",
            DRUG_NOTE.replace("this", "what fasciwatch shows"),
        ),
    ),
)
"""Sources: NICE NG127, FDA boxed warning 2020-09-23, MND Australia, Reed and Kurland 1963."""
