"""What an agent is: settings that name it and stay, and defaults for all else."""

import copy
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prune_env
from prune_agents.base import MaskAgent
from prune_agents.learning.policy import Learned, bundled_policy
from prune_agents.modifiers.anneal import Anneal
from prune_agents.rules.baselines import Full, RandomDynamic
from prune_agents.rules.el2n import EL2N
from prune_agents.rules.ucb import UCB
from prune_env.agent import Agent, check_agent
from prune_env.experiment.agents import agent_entries, make_agent
from prune_env.loop.sampler import PruningSampler


@dataclass(kw_only=True, eq=False)
class Mine(Agent):
    speed: Any = 1.0

    env_arguments = {"observation": "summary", "action": "bins"}  # noqa: RUF012

    def reset(self, seed):
        self.rng = np.random.default_rng(seed)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.zeros(16, np.float32), state


def test_an_agent_has_defaults_for_all_but_what_it_does():
    agent = Mine()
    assert (agent.reference, agent.prepares, agent.charged_work) == (False, False, 0)
    assert agent.prepare(None) is None
    assert prune_env.Agent is Agent


def test_the_settings_are_the_fields_and_nothing_else():
    agent = Mine(speed=2)
    agent.reset(0)
    assert agent.settings == {"speed": 2}
    assert Full().settings == {"keep_fraction": 1.0, "period": 1}
    inner = {"keep_fraction": 0.25, "period": 3}
    assert Anneal(RandomDynamic(period=3), 0.5).settings == {
        "agent": inner,
        "share": 0.5,
        "data": "full",
    }


@pytest.mark.parametrize(
    ("value", "expected"), [(np.float32(0.5), 0.5), (np.int64(3), 3), ((1, 2), [1, 2])]
)
def test_settings_are_as_json_has_them(value, expected):
    assert Mine(speed=value).settings == {"speed": expected}


@pytest.mark.parametrize("value", [{1, 2}, Path("here"), np.random.default_rng(0), object()])
def test_a_setting_that_json_cannot_hold_is_refused_by_name(value):
    with pytest.raises(TypeError, match="`speed` of Mine must be something that JSON can hold"):
        _ = Mine(speed=value).settings


@pytest.mark.parametrize(
    ("agent", "name"),
    [(UCB(c=2), "c"), (Full(), "period"), (Anneal(Full()), "agent"), (Learned(), "digest")],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_setting_stays_and_all_else_may_change(agent, name):
    before = agent.settings
    for one in (agent, copy.deepcopy(agent), pickle.loads(pickle.dumps(agent))):
        with pytest.raises(AttributeError, match=f"`{name}` of {type(agent).__name__} is a sett"):
            setattr(one, name, None)
        one.note = "anything"
        assert one.settings == before


def test_a_setting_is_given_by_its_name():
    with pytest.raises(TypeError, match="positional"):
        UCB(0.5)
    with pytest.raises(TypeError, match="positional"):
        Anneal(Full(), 0.5, "random")


def test_a_class_with_an_init_of_its_own_is_refused():
    with pytest.raises(TypeError, match="`Old` must declare its settings as fields of a dataclass"):

        class Old(MaskAgent):
            def __init__(self, *, speed=1):
                self.speed = speed


def test_what_follows_from_other_settings_is_settled_when_the_agent_is_made():
    assert EL2N(epochs=30).settings["schedule"] == 30
    assert UCB(first=np.inf).settings["first"] == "inf"
    assert Learned(path=str(bundled_policy())).settings["digest"] == Learned().digest
    assert Learned(path=bundled_policy()).settings["path"] == str(bundled_policy())


def test_agents_differ_though_their_settings_agree():
    assert len({UCB(), UCB()}) == 2


class Duck:
    def predict(self, observation, state=None):
        return 0, state


@pytest.mark.parametrize(
    "use",
    [
        lambda duck: check_agent("agent", duck),
        Anneal,
        lambda duck: PruningSampler(2, batch_size=1, agent=duck, budget=1),
    ],
)
def test_what_is_no_agent_is_refused(use):
    with pytest.raises(TypeError, match=r"`agent` must be an agent, got .*Duck.*derive its class"):
        use(Duck())


@pytest.mark.parametrize("name", agent_entries())
def test_every_agent_installed_is_named_by_its_settings(name):
    agent = make_agent(name, keep_fraction=0.25)
    other = type(agent)(
        **{key: value for key, value in agent.settings.items() if key not in unset(agent)}
    )
    assert other.settings == agent.settings


def unset(agent):
    fields = type(agent).__dataclass_fields__.values()
    return {field.name for field in fields if not field.init}
