"""How many seeds, or which."""

import pytest

from prune_env.experiment.seeds import parse_seeds


@pytest.mark.parametrize(
    ("words", "seeds"),
    [
        (["5"], (0, 1, 2, 3, 4)),
        (["1"], (0,)),
        (["7-7"], (7,)),
        (["900000", "900001"], (900000, 900001)),
        (["3-5", "9"], (3, 4, 5, 9)),
        (["0", "2"], (0, 2)),
        (["1" + "0" * 23 + "-1" + "0" * 23], (10**23,)),
    ],
)
def test_one_number_says_how_many_and_anything_else_which(words, seeds):
    assert parse_seeds(words) == seeds


def test_how_many_may_start_elsewhere():
    assert parse_seeds(["3"], first=100) == (100, 101, 102)
    assert parse_seeds(["3-4"], first=100) == (3, 4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["0"], "`seeds` must be at least 1, got 0"),
        (["-1"], "`seeds` must be one number, .* got '-1'"),
        (["1.5"], "got '1.5'"),
        (["5-3"], "got '5-3'"),
        (["a", "1"], "got 'a'"),
        (["٣", "4"], "got '٣'"),
        (["1", "1"], r"`seeds` must be one or more, each once, got \(1, 1\)"),
        (["1-3", "2"], r"each once, got \(1, 2, 3, 2\)"),
        ([], r"`seeds` must be one or more"),
        (["9" * 23], rf"`seeds` must be at most 1,000,000 seeds, got {'9' * 23}; .* a single seed"),
        (["1000001"], "at most 1,000,000 seeds, got 1000001"),
        (["0-" + "9" * 23], "at most 1,000,000 seeds, got '0-9+'; name fewer"),
        (["7", "0-999999"], "at most 1,000,000 seeds, got '0-999999'"),
    ],
)
def test_what_is_no_seed_is_named(words, message):
    with pytest.raises(ValueError, match=message):
        parse_seeds(words)
