import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trials.identity import NoCanonicalFormError, canonical, digest, digest_of_form


@dataclass(frozen=True)
class Before:
    name: str
    rate: float = 0.5


@dataclass(frozen=True)
class After:
    added: str = "as before"
    rate: float = 0.5
    name: str = ""


def test_the_digest_is_the_start_of_a_sha256_of_compact_sorted_json() -> None:
    text = '{"a":[1,1.5,true,null,"\\u00fc"],"b":{}}'
    expected = hashlib.sha256(text.encode()).hexdigest()[:24]
    assert digest({"b": {}, "a": (1, 1.5, True, None, "ü")}) == expected


def test_a_field_added_later_with_a_default_changes_no_digest() -> None:
    assert canonical(Before("x")) == {"name": "x"}
    assert digest(Before("x")) == digest(After(name="x")) == digest({"name": "x"})
    assert digest(Before("x", 0.25)) == digest(After(name="x", rate=0.25))
    assert digest(After(name="x", added="new")) != digest(Before("x"))


def test_a_field_without_default_is_always_there() -> None:
    @dataclass(frozen=True)
    class Made:
        items: tuple[int, ...] = dataclasses.field(default_factory=tuple)

    assert canonical(Made()) == {"items": []}


def test_one_spelling_of_zero() -> None:
    assert digest(-0.0) == digest(0.0)
    assert math.copysign(1, canonical([-0.0])[0]) == 1  # type: ignore[arg-type,index]


def test_types_are_told_apart() -> None:
    values: list[object] = [1, 1.0, True, "1", "true", None, "null", [1], {"1": 1}, [], {}, "", 0]
    assert len({digest(value) for value in values}) == len(values)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), object(), {1, 2}, b"x", 1j, Before]
)
def test_values_without_a_stable_form_are_refused(value: object) -> None:
    for nested in (value, [1, value], {"key": value}, After(added=value)):  # type: ignore[arg-type]
        with pytest.raises(NoCanonicalFormError):
            digest(nested)


def test_keys_that_are_not_strings_are_refused() -> None:
    with pytest.raises(NoCanonicalFormError, match="keys"):
        digest({1: "one"})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
def test_the_form_survives_json_and_is_its_own_form(value: object) -> None:
    form = canonical(value)
    assert canonical(form) == form
    assert json.loads(json.dumps(form)) == form
    assert digest(json.loads(json.dumps(form))) == digest(value)


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_a_mapping_is_irrelevant(value: dict[str, int]) -> None:
    assert digest(dict(reversed(value.items()))) == digest(value)


@given(VALUES)
def test_a_form_has_the_digest_of_its_value(value: object) -> None:
    assert digest_of_form(canonical(value)) == digest(value)
