"""How numbers and names are written, the same in figures, tables and sentences."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

MINUS = "−"
_DATASETS = {
    "cifar10": "CIFAR-10",
    "fashion_mnist": "Fashion-MNIST",
    "mnist": "MNIST",
    "digits": "Digits",
    "california_housing": "California Housing",
}
_METRICS = {"accuracy": "Test accuracy (%)", "mse": "Test MSE"}
_SETTINGS = re.compile(r"(?<!\de)-")
"""What stands between the settings in an attack's name; `step1e-05` is one."""
_SIZES = {"small": 0, "medium": 1, "large": 2}


def dataset_title(name: str) -> str:
    """The name of a dataset as it is printed."""
    return _DATASETS.get(name, name)


def metric_title(metric_name: str) -> str:
    """The name of a metric with its unit, for an axis."""
    return _METRICS.get(metric_name, f"Test {metric_name}")


def attack_title(attack: str) -> str:
    """An attack as it is printed: FGSM, FGSM (all, unclipped), PGD (20), input noise (uniform)."""
    name, *settings = _SETTINGS.split(attack)
    title = name.upper() if len(name) <= 4 else name.replace("_", " ")
    return f"{title} ({', '.join(settings)})" if settings else title


def attack_family(attack: str) -> str:
    """What an attack is, whatever its settings: fgsm of fgsm-all-unclipped, pgd of pgd-20."""
    return attack.split("-", 1)[0]


def metric_value(value: float, metric_name: str, unit: bool = True) -> str:
    """A figure of a metric: 77.68 % or 0.1972; a dash where there is none."""
    if pd.isna(value):
        return "–"
    if metric_name == "accuracy":
        return _signs(f"{value:.2f}") + (" %" if unit else "")
    return _signs(_four_digits(value))


def metric_difference(value: float, metric_name: str, unit: bool = True) -> str:
    """A signed difference: +0.75 points or −0.0012 MSE; a dash where there is none."""
    if pd.isna(value):
        return "–"
    if metric_name == "accuracy":
        return signed(value, 2) + (" points" if unit else "")
    if metric_name == "relative_error":
        return signed(value, 1) + (" %" if unit else "")
    return signed(value, 4) + (f" {metric_name.upper()}" if unit else "")


def signed(value: float, digits: int) -> str:
    """A number with its sign; none where it rounds to zero."""
    text = f"{value:+.{digits}f}"
    return _signs(text) if float(text) else f"{0:.{digits}f}"


def decimal(value: float, digits: int) -> str:
    """A number with so many decimals; a dash where there is none."""
    return "–" if pd.isna(value) else _signs(f"{value:.{digits}f}")


def percent(share: float, digits: int = 0) -> str:
    """A share of one, in percent; a dash where there is none."""
    return "–" if pd.isna(share) else _signs(f"{100 * share:.{digits}f}") + " %"


def interval(low: float, high: float, metric_name: str, difference: bool = False) -> str:
    """An interval: 76.51 to 77.35, signed for a difference; a dash where there is none."""
    if pd.isna(low) or pd.isna(high):
        return "–"
    write = metric_difference if difference else metric_value
    return f"{write(low, metric_name, False)} to {write(high, metric_name, False)}"


def p_value(value: float) -> str:
    """A p value: 0.031 or < 0.001; a dash where there is none."""
    if pd.isna(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def number(value: Any) -> str:
    """A parameter: 0.1, 15, 1e-05, "he"; "–" for null."""
    if pd.isna(value):
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """A number of things: 1 seed, 15 seeds, 4,170 trials."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def none_or(n: int) -> str:
    """A count within a sentence: none, 1, 2, ..."""
    return f"{n:,}" if n else "none"


def listed(items: Iterable[str]) -> str:
    """An enumeration: a; a and b; a, b and c."""
    words = list(items)
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def duration(seconds: float) -> str:
    """A time: 45 s, 12 min, 3.2 h, 2.1 days; a dash where it is not known."""
    if pd.isna(seconds):
        return "–"
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.{0 if size < 3600 else 1}f} {unit}"
    return f"{seconds / 86400:.1f} days"


def configuration(row: Mapping[Any, Any], extra: Iterable[str] = ()) -> str:
    """A configuration: small teacher, alpha 0.9, switch 15; further parameters as named."""
    parts = []
    if row["role"] == "student":
        parts += [f"{row['teacher']} teacher", f"alpha {number(row['alpha'])}"]
        parts += [f"switch {number(row['switch_epoch'])}"]
    elif row["role"] == "teacher":
        parts += [f"{row['model']} teacher"]
    else:
        parts += ["baseline"]
    parts += [f"{name.replace('_', ' ')} {number(row[name])}" for name in extra]
    return ", ".join(parts)


def by_size(models: Iterable[str]) -> list[str]:
    """Teacher names without repeats: small, medium, large, then the rest by alphabet."""
    return sorted(set(models), key=lambda name: (_SIZES.get(name, len(_SIZES)), name))


def in_order(values: Iterable[Any]) -> list[Any]:
    """Values of a parameter without repeats: numbers by size, and names as they first come.

    A study asks for names in the order that it means; small, medium and large have their own.
    """
    found = list(dict.fromkeys(values))
    if not all(isinstance(value, str) for value in found):
        return sorted(found)
    return by_size(found) if set(found) <= set(_SIZES) else found


def _signs(text: str) -> str:
    return text.replace("-", MINUS)


def _four_digits(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.4g}"
