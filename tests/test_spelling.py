"""Agents as text, and back."""

from dataclasses import dataclass

import pytest

import prune_agents
from prune_agents import UCB, Anneal, ClassBalance, InfoBatch, Learned, RandomDynamic, Rescale
from prune_env import Comparison, Noise, Results, make_agent, spec_of
from prune_env.experiment.agents import agent_entries, modifier_entries


@pytest.mark.parametrize("name", sorted(agent_entries()))
def test_an_agent_with_nothing_said_of_it_is_its_name(name):
    assert spec_of(make_agent(name, keep_fraction=0.3), keep_fraction=0.3) == name


@pytest.mark.parametrize(
    "text",
    [
        "ucb:c=2.5",
        "random:keep_fraction=0.5",
        "epsilon-greedy:epsilon=0.3,refresh=forward-only,period=4",
        "infobatch:r=0.5",
        "static-random",
        "stalest+class-balance:floor=0.5",
        "ucb:c=2+anneal:share=0.25,data=random+rescale:norm=epoch",
    ],
)
def test_what_is_written_makes_the_same_agent(text):
    agent = make_agent(text, keep_fraction=0.25)
    written = spec_of(agent, keep_fraction=0.25)
    again = make_agent(written, keep_fraction=0.25)
    assert (type(again), again.settings) == (type(agent), agent.settings)
    assert spec_of(again, keep_fraction=0.25) == written


def test_objects_are_written_as_the_command_line_would():
    assert spec_of(UCB(c=2), keep_fraction=0.25) == "ucb:c=2"
    assert spec_of(UCB(), keep_fraction=0.25) == "ucb"
    assert (
        spec_of(RandomDynamic(keep_fraction=0.5), keep_fraction=0.25) == "random:keep_fraction=0.5"
    )
    assert spec_of(InfoBatch(r=0.5), keep_fraction=0.25) == "infobatch:r=0.5"
    around = Rescale(Anneal(UCB(c=2), 0.5))
    assert spec_of(around, keep_fraction=0.25) == "ucb:c=2+anneal:share=0.5+rescale"


def test_a_policy_that_is_in_no_file_is_known_by_its_digest():
    policy = prune_agents.load_policy(prune_agents.bundled_policy())
    assert spec_of(Learned.of(policy), keep_fraction=0.25) == "learned"
    moved = policy.with_provenance({})
    assert spec_of(Learned.of(moved), keep_fraction=0.25) == "learned"  # it does the same


@dataclass(kw_only=True, eq=False)
class Mine(RandomDynamic):
    speed: float = 1.0


def test_a_class_of_ones_own_is_called_by_its_name():
    assert spec_of(Mine(speed=2.0), keep_fraction=0.25) == "Mine:speed=2.0"
    assert spec_of(ClassBalance(Mine()), keep_fraction=0.25) == "Mine+class-balance"


def test_a_comparison_takes_objects_and_text_alike():
    common = {"tasks": ("blobs",), "seeds": (0,), "epochs": 4.0, "keep_fraction": 0.25}
    given = Comparison(scenarios=(Noise(0.3),), agents=(UCB(c=2), Mine(), "short"), **common)
    written = Comparison(scenarios=("noise:0.3",), agents=("ucb:c=2", "short"), **common)
    tables = []
    for comparison in (given, written):
        results = Results(comparison.settings)
        comparison.run(results)
        tables.append({row["agent"]: row["test_accuracies"] for row in results.summary()})
    assert tables[0].keys() == {"ucb:c=2", "Mine", "short"}
    assert tables[0].items() >= tables[1].items()


def test_the_object_stays_as_it_was():
    agent = RandomDynamic()
    agent.reset(7)
    before = agent._rng.bit_generator.state
    comparison = Comparison(
        tasks=("blobs",),
        scenarios=("clean",),
        agents=(agent,),
        seeds=(0,),
        epochs=4.0,
        keep_fraction=0.25,
    )
    comparison.run(Results(comparison.settings))
    assert agent._rng.bit_generator.state == before


def test_what_is_compared_must_be_text_or_an_agent_and_each_once():
    common = {"tasks": ("blobs",), "scenarios": ("clean",), "seeds": (0,), "epochs": 4.0}
    with pytest.raises(TypeError, match="`agents` must be texts or objects of Agent, got 3"):
        Comparison(agents=(3,), keep_fraction=0.25, **common)
    with pytest.raises(ValueError, match="`agents` must be one or more, each once"):
        Comparison(agents=(UCB(), "ucb"), keep_fraction=0.25, **common)


def test_every_modifier_can_be_written():
    assert modifier_entries()
    for name in modifier_entries():
        spec = f"random+{name}"
        assert spec_of(make_agent(spec, keep_fraction=0.25), keep_fraction=0.25) == spec


def test_what_is_no_tuple_and_no_agent_is_named():
    common = {"tasks": ("blobs",), "scenarios": ("clean",), "epochs": 4.0, "keep_fraction": 0.25}
    with pytest.raises(TypeError, match="`agents` must be a tuple of one or more, got UCB"):
        Comparison(agents=UCB(c=2), seeds=(0,), **common)
    with pytest.raises(TypeError, match="`seeds` must be a tuple of one or more, got 3"):
        Comparison(agents=("random",), seeds=3, **common)
    with pytest.raises(TypeError, match=r"`agent` must be an agent, got Noise"):
        spec_of(Noise(0.3))
    assert spec_of(UCB(c=2)) == "ucb:c=2"


def test_a_method_where_a_property_belongs_is_named():
    class Method(RandomDynamic):
        def env_arguments(self):  # type: ignore[override]
            return {"action": "mask"}

    with pytest.raises(TypeError, match="`env_arguments` of Method must be a property"):
        spec_of(Method())
