"""What is known of triggers before a person's own data: the catalogue, as data.

Rules:

* A default kernel is fixed here, before any data, with its source. Nobody hunts for the best lag of a finding.
* `evidence` grades what links a trigger to *twitching*, not how well its pharmacology is known. Most is weak.
* A drug carries `DRUG_NOTE` wherever it is shown, and is never offered for an experiment.
* Kinds that are not listed may be logged; `entry` gives them a plain default.
* History is context and tests are annotations. Neither is ever a trigger.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from monitor.correlation.exposure import After, Bateman, During, Kernel, Release, Window, Withdrawal

DRUG_NOTE: Final = "Do not change a dose because of this."
EMERGENCY: Final = (
    "Nothing is computed for pesticides or nerve agents: this can be an emergency. With sweating, drooling, "
    "tears, vomiting, diarrhoea, small pupils, wheezing, weakness, confusion, a seizure or trouble breathing call "
    "the emergency number or a poison centre now."
)


class Form(StrEnum):
    """How a trigger is logged and analysed."""

    INSTANT = "instant"
    INTERVAL = "interval"
    DOSE = "dose"
    REDUCTION = "reduction"
    SLOW = "slow"
    EMERGENCY = "emergency"
    TEST = "test"
    HISTORY = "history"


class Direction(StrEnum):
    """What is expected of the rate of twitches."""

    MORE = "more"
    LESS = "less"
    OPEN = "open"


class Evidence(StrEnum):
    """Of a link with twitching."""

    LISTED = "listed"
    """In lists by consensus; no controlled study was found."""
    ANALOGY = "analogy"
    """From another symptom, migraine for the most part."""
    MECHANISM = "mechanism"
    """A known effect on nerve or electrolytes."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Entry:
    """A kind of trigger."""

    id: str
    name: str
    form: Form
    unit: str
    kernel: Kernel
    """The default."""
    library: tuple[Kernel, ...]
    """Other kernels that the default is averaged with."""
    direction: Direction
    evidence: Evidence
    source: str
    """Of the kernel and the direction."""
    drug: bool = False
    derived_from: str | None = None
    """Kind whose logged doses a reduction is computed from."""
    note: str = ""

    @property
    def testable(self) -> bool:
        """Whether a question can be asked of it at all."""
        return self.form not in (Form.TEST, Form.HISTORY, Form.EMERGENCY)

    @property
    def safety(self) -> str:
        """What must be said wherever it is shown."""
        return " ".join(part for part in (self.note, DRUG_NOTE if self.drug else "") if part)


_HOURS = (Window(0.0, 1.0), Window(0.5, 3.0), Window(3.0, 8.0))
_NO_SOURCE = "no lag was found in the literature; ours by choice"
_CAFFEINE = Bateman(5.0, 0.25)
_LABEL = "listed by the US National Library of Medicine"

ENTRIES: Final = (
    Entry(
        "stress", "stress", Form.INTERVAL, "0-10", After(0.0, 6.0), (After(6.0, 18.0), Release()),
        Direction.MORE, Evidence.ANALOGY, "let-down migraine, odds 5 in the first 6 h: Neurology 2014;82:1395",
    ),
    Entry(
        "caffeine", "caffeine", Form.DOSE, "mg", Window(0.5, 3.0), (Window(0.0, 1.0), Window(3.0, 8.0), _CAFFEINE),
        Direction.MORE, Evidence.LISTED, "absorbed in 45 min, half-life 5 h (1.5-9.5): Institute of Medicine 2001",
    ),
    Entry(
        "caffeine_reduction", "less caffeine than usual", Form.REDUCTION, "mg", Window(12.0, 48.0),
        (Withdrawal(5.0, 0.25, 168.0),), Direction.OPEN, Evidence.ANALOGY,
        "withdrawal begins at 12-24 h and peaks at 20-48 h: Juliano and Griffiths 2004;176:1",
        derived_from="caffeine",
    ),
    Entry(
        "exercise", "exercise", Form.INTERVAL, "RPE 6-20", After(0.0, 2.0), (After(2.0, 12.0),),
        Direction.MORE, Evidence.LISTED, _LABEL, note="It also moves electrodes: see the artefact rate.",
    ),
    Entry(
        "sleep_loss", "too little sleep", Form.SLOW, "h", Window(0.0, 24.0), (), Direction.MORE, Evidence.LISTED,
        _LABEL,
    ),
    Entry("sleep", "sleep", Form.INTERVAL, "h", After(0.0, 2.0), (), Direction.OPEN, Evidence.LISTED, _LABEL),
    Entry(
        "dehydration", "dehydration, heat, diarrhoea or vomiting", Form.SLOW, "", Window(0.0, 24.0), (),
        Direction.MORE, Evidence.MECHANISM, "electrolytes; " + _LABEL,
        note="With vomiting and confusion or fainting see a doctor now.",
    ),
    Entry(
        "fluids", "fluids", Form.DOSE, "mL", Window(0.0, 6.0), (Window(0.0, 1.0), Window(0.5, 3.0)),
        Direction.LESS, Evidence.LISTED, _NO_SOURCE,
    ),
    Entry("cold", "cold", Form.INTERVAL, "°C", After(0.0, 2.0), (), Direction.OPEN, Evidence.NONE, _NO_SOURCE),
    Entry(
        "alcohol", "alcohol", Form.DOSE, "g", Window(0.5, 6.0), (Window(0.0, 1.0), Window(6.0, 16.0)),
        Direction.OPEN, Evidence.LISTED, _NO_SOURCE,
    ),
    Entry("illness", "illness", Form.SLOW, "", During(), (), Direction.MORE, Evidence.LISTED, _LABEL),
    Entry(
        "magnesium", "magnesium", Form.SLOW, "mg", During(), (), Direction.LESS, Evidence.MECHANISM,
        "no benefit for cramps in trials: Cochrane CD009402", drug=True,
    ),
    Entry(
        "calcium", "calcium", Form.SLOW, "mg", During(), (), Direction.LESS, Evidence.MECHANISM,
        "low calcium brings tetany: Harrison's Principles", drug=True,
        note="Tingling round the mouth, cramps of the hands or a tight throat: see a doctor now.",
    ),
    Entry(
        "vitamin_d", "vitamin D", Form.SLOW, "IU", During(), (), Direction.LESS, Evidence.LISTED,
        "by way of calcium", drug=True,
    ),
    Entry(
        "diuretic", "diuretic", Form.SLOW, "mg", During(), (), Direction.MORE, Evidence.MECHANISM,
        "electrolytes shift within 2-3 weeks of a constant dose: UpToDate", drug=True,
    ),
    Entry(
        "corticosteroid", "corticosteroid", Form.SLOW, "mg prednisone", During(), (), Direction.OPEN,
        Evidence.MECHANISM, "low potassium; myopathy within weeks to months: StatPearls", drug=True,
        note="Weakness on steroids: see a doctor.",
    ),
    Entry(
        "estrogen", "estrogen", Form.SLOW, "mg", During(), (), Direction.OPEN, Evidence.LISTED, _LABEL, drug=True
    ),
    Entry(
        "benzodiazepine", "benzodiazepine", Form.SLOW, "mg", During(), (), Direction.LESS, Evidence.MECHANISM,
        "FDA boxed warning, 2020-09-23", drug=True,
    ),
    Entry(
        "benzodiazepine_reduction", "benzodiazepine reduced or stopped", Form.REDUCTION, "mg", Window(24.0, 336.0),
        (), Direction.MORE, Evidence.MECHANISM, "FDA boxed warning, 2020-09-23", drug=True,
        derived_from="benzodiazepine",
        note="Stopping at once can bring seizures. Seizure, hallucination, confusion: call the emergency number.",
    ),
    Entry(
        "organophosphate", "pesticide or nerve agent", Form.EMERGENCY, "", During(), (), Direction.MORE,
        Evidence.MECHANISM, "nicotinic sign: textbooks of toxicology", note=EMERGENCY,
    ),
    Entry("diet", "diet", Form.SLOW, "", During(), (), Direction.OPEN, Evidence.NONE, _NO_SOURCE),
    Entry(
        "supplement", "supplement", Form.SLOW, "mg", During(), (), Direction.OPEN, Evidence.NONE, _NO_SOURCE,
        drug=True,
    ),
    Entry(
        "medication", "medication", Form.SLOW, "mg", During(), (), Direction.OPEN, Evidence.NONE, _NO_SOURCE,
        drug=True,
    ),
    *(
        Entry(id_, name, Form.TEST, "", During(), (), Direction.OPEN, Evidence.NONE, "")
        for id_, name in (
            ("emg", "electromyography"),
            ("nerve_conduction", "nerve conduction study"),
            ("biopsy", "biopsy"),
            ("blood_test", "blood test"),
            ("reflex_test", "test of reflexes and strength"),
        )
    ),
    *(
        Entry(id_, name, Form.HISTORY, "", During(), (), Direction.OPEN, Evidence.NONE, "")
        for id_, name in (
            ("als", "amyotrophic lateral sclerosis"),
            ("motor_neuron_disease", "other motor neuron disease"),
            ("multiple_sclerosis", "multiple sclerosis"),
            ("cervical_spondylosis", "cervical spondylosis"),
            ("nerve_injury", "nerve injury"),
            ("head_injury", "head injury"),
            ("muscle_tightness", "muscle tightness"),
        )
    ),
)  # fmt: skip

CATALOGUE: Final = MappingProxyType({entry.id: entry for entry in ENTRIES})
"""By id."""

SITES: Final = MappingProxyType(
    {
        "eye": "orbicularis oculi, below the outer corner",
        "face": "zygomaticus major or mentalis",
        "tongue": "under the chin, on the digastric: the tongue itself is not reached from the skin",
        "arm": "biceps brachii, middle of the belly",
        "forearm": "flexor carpi radialis, upper third",
        "hand": "first dorsal interosseous, between thumb and index",
        "thigh": "vastus medialis, a hand above the knee",
        "calf": "gastrocnemius medialis, middle of the belly",
        "shin": "tibialis anterior, upper third",
        "foot": "abductor hallucis, inner edge of the sole",
    }
)
"""Where people feel twitches, and where electrodes go for it."""


def entry(kind: str, *, lasting: bool = False) -> Entry:
    """What is known of a kind; one that is not listed acts within hours.

    Args:
        kind: id, as logged.
        lasting: whether a kind that is not listed was logged with an end.
    """
    if kind in CATALOGUE:
        return CATALOGUE[kind]
    if lasting:
        form, kernel, library = Form.INTERVAL, After(0.0, 6.0), (After(0.0, 2.0),)
        return Entry(kind, kind, form, "", kernel, library, Direction.OPEN, Evidence.NONE, _NO_SOURCE)
    return Entry(
        kind, kind, Form.INSTANT, "", Window(0.0, 3.0), _HOURS, Direction.OPEN, Evidence.NONE, _NO_SOURCE
    )  # fmt: skip
