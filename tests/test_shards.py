"""Parts of a comparison: each episode in one of them, and as much to do in each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prune_env.experiment.shards import Shard


@given(st.lists(st.floats(0, 100), max_size=40), st.integers(1, 9))
def test_each_is_in_one_part_and_none_has_much_more(costs, of):
    costs = dict(enumerate(costs))
    parts = [Shard(number=number, of=of).of_these(costs) for number in range(1, of + 1)]
    assert sorted(item for part in parts for item in part) == list(costs)
    assert all(part == sorted(part) for part in parts)
    loads = [sum(costs[item] for item in part) for part in parts]
    assert max(loads) - min(loads) <= max(costs.values(), default=0) + 1e-9


def test_references_are_dealt_out_where_taking_turns_would_pile_them_up():
    costs = {(seed, agent): 4.0 if agent == "full" else 1.0 for seed in range(3) for agent in NAMES}
    first, second, third = (Shard(number=n, of=3).of_these(costs) for n in (1, 2, 3))
    assert [sum(agent == "full" for _, agent in part) for part in (first, second, third)] == [1] * 3
    assert [len(part) for part in (first, second, third)] == [3] * 3


NAMES = ("full", "random", "ucb")


def test_it_is_read_as_it_is_written():
    assert Shard.parse("2/8") == Shard(number=2, of=8)


@pytest.mark.parametrize(
    "text", ["", "2", "0/3", "4/3", "1/0", "-1/3", "1/3/4", "a/b", "1 /3", "٣/٣"]
)
def test_others_are_refused(text):
    with pytest.raises(ValueError, match="`shard` must be "):
        Shard.parse(text)
