"""JSON from files: what no two readers would read alike is refused, and every field is checked."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prune_env.storage.fields import Fields, parse_json

DEEP = b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1e999}', "the number 1e999 is too large"),
        (b'{"a": ' + b"1" * 5000 + b"}", "integer string conversion"),
        (b'{"a": 1, "a": 2}', "it holds 'a' twice"),
        (b'{"a": [{"b": 1, "b": 1}]}', "it holds 'b' twice"),
        (b'{"a": "\\ud800"}', "half a surrogate pair"),
        (b'{"\\udc00": 1}', "half a surrogate pair"),
        (b'["\\ud800"]', "half a surrogate pair"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ('{"a": 1}'.encode("utf-16"), "can't decode"),
        (b'{"a": "\xff"}', "can't decode"),
        (DEEP, "nested too deep"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b'{"a": 1', "Expecting"),
        (b"", "Expecting value"),
        (b"{} {}", "Extra data"),
    ],
)
def test_what_readers_would_read_differently_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_json(text)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Whole pairs of surrogates are characters.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
)


@given(values)
def test_all_that_json_writes_is_read(value):
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


def fields(**values):
    return Fields(values, place="file, line 3", remedy="mend it")


GOOD = [
    (lambda f: f.text("x"), "name"),
    (lambda f: f.flag("x"), True),
    (lambda f: f.flag("x"), np.bool_(False)),
    (lambda f: f.count("x"), 0),
    (lambda f: f.count("x"), np.int64(3)),
    (lambda f: f.count("x"), 2**100),  # a seed may be
    (lambda f: f.number("x", low=0, high=1), 0.5),
    (lambda f: f.number("x", low=0, high=1), 1),  # JSON writes 1.0 so, in other hands
    (lambda f: f.numbers("x", length=0), []),
    (lambda f: f.numbers("x", length=2), [1.5, 2]),
    (lambda f: f.object("x").values, {"a": 1}),
]


@pytest.mark.parametrize(("take", "value"), GOOD)
def test_what_fits_is_taken(take, value):
    assert take(fields(x=value)) == value


BAD = [
    (lambda f: f.text("x"), "", "must be a text that is not empty, got ''"),
    (lambda f: f.text("x"), "\ud800", "must be a text"),
    (lambda f: f.flag("x"), 1, "must be true or false, got 1"),
    (lambda f: f.count("x"), True, "must be a whole number of at least 0, got True"),
    (lambda f: f.count("x"), 1.0, "must be a whole number"),
    (lambda f: f.count("x", least=1), 0, "of at least 1, got 0"),
    (lambda f: f.count("x"), 10**400, r"must be a whole number of at least 0, got 1000+\.\.\."),
    (lambda f: f.number("x", low=0, high=1), -1, r"must be a finite number in \[0, 1\], got -1"),
    (lambda f: f.number("x"), True, "must be a finite number, got True"),
    (lambda f: f.number("x"), float("nan"), "must be a finite number, got nan"),
    (lambda f: f.number("x"), 10**400, "must be a finite number, got 1000"),
    (lambda f: f.number("x", low=0), "1", "must be a finite number of at least 0, got '1'"),
    (lambda f: f.numbers("x", length=2), [1.0], r"must be a list of 2 values, got \[1.0\]"),
    (lambda f: f.numbers("x"), [], "must be a list of at least one value"),
    (lambda f: f.numbers("x"), [1.0, None], "must be a list of finite numbers"),
    (lambda f: f.numbers("x"), "12", "must be a list, got '12'"),
    (lambda f: f.object("x"), [], "must be an object"),
    (lambda f: f.objects("x"), [{}, 1], "must be a list of objects"),
    (lambda f: f.object("x").text("y"), {"y": 1}, "in `x`: `y` must be a text"),
    (lambda f: f.objects("x")[1].text("y"), [{}, {"y": 1}], "in `x`, number 2: `y` must be"),
]


@pytest.mark.parametrize(("take", "value", "message"), BAD)
def test_what_does_not_fit_is_named_with_place_rule_value_and_remedy(take, value, message):
    with pytest.raises(ValueError, match=rf"^file, line 3.*{message}.*; mend it$"):
        take(fields(x=value))


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match=r"^file, line 3: `y` is missing; mend it$"):
        fields(x=1).number("y")
    with pytest.raises(ValueError, match="line 3 is incomplete, without y, z; mend it"):
        fields(x=1).check_there(("x", "y", "z"))
    with pytest.raises(ValueError, match="line 3: in `x` is incomplete, without y; mend it"):
        fields(x={}).object("x").check_there(["y"])
    assert not fields(x=None).has("x")
    assert not fields().has("x")
