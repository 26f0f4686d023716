"""Names of tasks with options: what is read of them, and what is refused."""

import pytest

from prune_env.problem.specs import Spec

KNOWN = {"target": "COLUMN[,COLUMN...]", "length": "NUMBER", "tokens": "words|characters"}


def test_a_spec_reads_what_it_is_given():
    spec = Spec.parse("a/b c.csv?target=x,y=z&length=3", KNOWN)
    assert spec.path == "a/b c.csv"
    assert spec.names("target") == ["x", "y=z"]
    assert spec.names("tokens") == []
    assert (spec.count("length", 7), spec.count("width", 7)) == (3, 7)
    assert spec.choice("tokens", ("words", "characters")) is None
    assert Spec.parse("a", KNOWN) == Spec(path="a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must name a path, got ''"),
        ("?length=1", r"must name a path, got '\?length=1'"),
        ("a?lenght=1", r"takes target=COLUMN\[.*, got 'lenght=1'; did you mean 'length'"),
        ("a?colour=1", "tokens=words.characters, got 'colour=1'$"),
        ("a?length=1&", "got ''$"),
        ("a?length", "must have one value for 'length', got 'a.length'"),
        ("a?length=", "must have one value for 'length', got 'a.length='"),
        ("a?length=1&length=1", "must have one value for 'length'"),
    ],
)
def test_what_cannot_be_read_is_named(text, message):
    with pytest.raises(ValueError, match=f"`task` .*{message}"):
        Spec.parse(text, KNOWN)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_a_count_is_a_whole_number(value):
    with pytest.raises(ValueError, match=f"length must be a whole number .*, got '{value}'"):
        Spec.parse(f"a?length={value}", KNOWN).count("length", 1)


def test_a_choice_is_one_of_some():
    with pytest.raises(ValueError, match="tokens must be one of words, characters, got 'bytes'"):
        Spec.parse("a?tokens=bytes", KNOWN).choice("tokens", ("words", "characters"))
