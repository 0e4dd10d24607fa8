"""The names of measures: what a study's own figures and tables show, and what was published.

A measure is one number of a trial. Its name is a word, or a word and a number: `accuracy`,
`fgsm 0.018` (an attack as results name it, and its strength), `epoch_at 90`. `validation fgsm 0.018`
is the same attack on the validation rows. Names are read here without any table, so that a study
file is checked before anything is trained.
"""

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["metric", "column", "attack", "classes", "labels", "epoch_at"]
Unit = Literal["percent", "epochs", "number"]

HEADLINE = ("accuracy", "mse")
"""Metrics that are the headline figure of some datasets and mean nothing on the others."""
COLUMNS = (
    "test_metric", "validation_metric", "test_loss", "validation_loss", "mae", "r2", "epochs_run",
)  # fmt: skip
CLASS_SCORES = ("precision", "recall", "f1")
LABELS = ("corrected", "memorised", "other")
"""What became of training rows whose label was perturbed."""
ATTACKS = ("fgsm", "pgd", "input_noise", "weight_noise")
"""Families of attacks; what follows a dash says how an attack was done."""
EPOCH_AT = "epoch_at"
VALIDATION = "validation"

ALLOWED = (
    f"{', '.join((*HEADLINE, *COLUMNS, *CLASS_SCORES, *LABELS))}; {', '.join(ATTACKS)} (or one of "
    "them as results name it, fgsm-all-unclipped) with a strength: 'fgsm 0.05', on the validation "
    "rows 'validation fgsm 0.05'; 'epoch_at 90'"
)


@dataclass(frozen=True)
class MeasureName:
    """A measure's name, read.

    Attributes:
        text: The name as it is written.
        kind: Where the number comes from.
        name: Of a metric, column, attack, score or kind of label; of `epoch_at` the same word.
        number: The strength of an attack, or the level to be reached; None for the others.
        validation: Whether an attack was on the validation rows.
    """

    text: str
    kind: Kind
    name: str
    number: float | None = None
    validation: bool = False

    @classmethod
    def parse(cls, text: str) -> "MeasureName":
        """Reads a name.

        Raises:
            ValueError: It is not one; names those there are.
        """
        parts = text.split()
        validation = len(parts) == 3 and parts[0] == VALIDATION
        words = parts[1:] if validation else parts
        written = " ".join(parts)
        if len(words) == 1:
            kinds: tuple[tuple[Kind, tuple[str, ...]], ...] = (
                ("metric", HEADLINE),
                ("column", COLUMNS),
                ("classes", CLASS_SCORES),
                ("labels", LABELS),
            )
            for kind, names in kinds:
                if words[0] in names:
                    return cls(written, kind, words[0])
        if len(words) == 2:
            number = _number(words[1])
            attack = words[0].split("-")[0] in ATTACKS
            if number is not None and (number >= 0 if attack else words[0] == EPOCH_AT):
                kind = "attack" if attack else "epoch_at"
                if attack or not validation:
                    return cls(written, kind, words[0], number, validation)
        raise ValueError(f"measure: {text!r} is not one of {ALLOWED}")

    def unit(self, metric_name: str) -> Unit:
        """What the numbers are in, where the headline metric is of that name."""
        if self.kind == "epoch_at" or self.name == "epochs_run":
            return "epochs"
        of_metric = self.kind == "attack" or self.name in ("test_metric", "validation_metric")
        if self.kind in ("classes", "labels") or self.name == "accuracy":
            return "percent"
        return "percent" if of_metric and metric_name == "accuracy" else "number"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
