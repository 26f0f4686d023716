import numpy as np
import pytest

from prune_agents.rules.baselines import Full, RandomDynamic, Short, StaticRandom
from prune_env.decision.observation import RUN_COLUMN, RUN_COLUMNS, SAMPLE_COLUMNS


def observe(progress, num=20):
    run = np.zeros(len(RUN_COLUMNS), dtype=np.float32)
    run[RUN_COLUMN["progress"]] = progress
    return {"samples": np.ones((num, len(SAMPLE_COLUMNS)), dtype=np.float32), "run": run}


def masks(agent, num=20, epochs=6):
    return np.stack([agent.predict(observe(e / epochs, num))[0] for e in range(epochs)])


@pytest.mark.parametrize("agent", [Full(), Short()])
def test_full_and_short_keep_all_samples(agent):
    assert masks(agent).all()


def test_only_full_is_the_reference():
    assert [a.reference for a in (Full(), Short(), StaticRandom(), RandomDynamic())] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(("keep_fraction", "count"), [(0.25, 5), (0.1, 2), (1.0, 20)])
def test_static_random_keeps_one_subset_for_the_run(keep_fraction, count):
    kept = masks(StaticRandom(keep_fraction=keep_fraction))
    assert (kept.sum(axis=1) == count).all()
    assert (kept == kept[0]).all()


def test_static_random_draws_another_subset_for_another_run():
    agent = StaticRandom(keep_fraction=0.5)
    assert not np.array_equal(masks(agent)[0], masks(agent)[0])


def test_random_dynamic_draws_every_epoch():
    kept = masks(RandomDynamic(keep_fraction=0.5))
    assert (kept.sum(axis=1) == 10).all()
    assert len(np.unique(kept, axis=0)) == 6


def test_random_dynamic_holds_its_subset_for_a_period():
    kept = masks(RandomDynamic(keep_fraction=0.5, period=3))
    assert (kept[:3] == kept[0]).all()
    assert (kept[3:] == kept[3]).all()
    assert not np.array_equal(kept[0], kept[3])


@pytest.mark.parametrize("agent_class", [StaticRandom, RandomDynamic])
def test_random_subsets_are_uniform(agent_class):
    agent, runs = agent_class(keep_fraction=0.4), 2000
    counts = sum(agent.predict(observe(0, num=5))[0].astype(int) for _ in range(runs))
    assert counts / runs == pytest.approx(np.full(5, 0.4), abs=0.05)


@pytest.mark.parametrize("agent_class", [StaticRandom, RandomDynamic])
@pytest.mark.parametrize("keep_fraction", [0, 1.5, -1])
def test_a_keep_fraction_out_of_range_is_refused(agent_class, keep_fraction):
    with pytest.raises(ValueError, match=rf"`keep_fraction` .* \(0, 1\], got {keep_fraction}"):
        agent_class(keep_fraction=keep_fraction)
