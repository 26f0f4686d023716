from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest

from prune_agents.modifiers.anneal import Anneal
from prune_agents.modifiers.class_balance import ClassBalance
from prune_agents.modifiers.rescale import Rescale
from prune_agents.modifiers.warm_up import WarmUp
from prune_agents.propensities import KnowsPropensities
from prune_agents.rules import losses
from prune_agents.rules.aum import AUM
from prune_agents.rules.baselines import Full, RandomDynamic, Short, StaticRandom
from prune_agents.rules.ccs import CCS
from prune_agents.rules.el2n import EL2N
from prune_agents.rules.epsilon_greedy import EpsilonGreedy
from prune_agents.rules.forgetting import Forgetting
from prune_agents.rules.grand import GraNd
from prune_agents.rules.ies import IES
from prune_agents.rules.infobatch import InfoBatch
from prune_agents.rules.kakurenbo import Kakurenbo
from prune_agents.rules.loss_proportional import LossProportional
from prune_agents.rules.orderdp import OrderDP
from prune_agents.rules.pdd import PDD
from prune_agents.rules.rcap import RCAP
from prune_agents.rules.repb import RePB
from prune_agents.rules.rho_loss import RhoLoss
from prune_agents.rules.rs2 import RS2
from prune_agents.rules.score_agent import ScoreAgent
from prune_agents.rules.seta import SeTa
from prune_agents.rules.small_loss import SmallLoss
from prune_agents.rules.ucb import UCB
from prune_env.agent import Agent
from prune_env.experiment import agents as registry
from prune_env.experiment.agents import (
    GROUP,
    Description,
    agent_entries,
    agents_of,
    describe,
    make_agent,
    modifier_entries,
    needs,
    spec_value,
)
from prune_env.experiment.cli import main

BUNDLED = {
    "full": Full,
    "short": Short,
    "static-random": StaticRandom,
    "random": RandomDynamic,
    "epsilon-greedy": EpsilonGreedy,
    "ucb": UCB,
    "highest": losses.Highest,
    "lowest": losses.Lowest,
    "middle": losses.Middle,
    "forgotten": losses.Forgotten,
    "stalest": losses.Stalest,
    "rs2": RS2,
    "infobatch": InfoBatch,
    "orderdp": OrderDP,
    "repb": RePB,
    "loss-proportional": LossProportional,
    "seta": SeTa,
    "rcap": RCAP,
    "ies": IES,
    "pdd": PDD,
    "kakurenbo": Kakurenbo,
    "small-loss": SmallLoss,
    "rho-loss": RhoLoss,
    "forgetting": Forgetting,
    "el2n": EL2N,
    "grand": GraNd,
    "aum": AUM,
    "ccs": CCS,
}


@dataclass(kw_only=True, eq=False)
class Own(Agent):
    """Keeps nothing back.

    Source: this test
    """

    speed: Any = 1

    env_arguments = {"observation": "summary", "action": "bins"}  # noqa: RUF012

    def reset(self, seed):
        pass

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.zeros(16, np.float32), state


def undescribed(*, keep_fraction):
    return Own(speed=keep_fraction) if keep_fraction < 1 else "full speed"


@pytest.fixture
def installed(monkeypatch):
    """Somebody else's agents, beside none of ours."""
    entries = [
        EntryPoint(name, f"{__name__}:{value}", GROUP)
        for name, value in (("own", "Own"), ("plain", "undescribed"))
    ]
    monkeypatch.setattr(EntryPoint, "load", lambda entry: globals()[entry.attr])
    monkeypatch.setattr(registry, "entry_points", lambda group: entries if group == GROUP else [])


@pytest.mark.parametrize(("name", "agent_class"), BUNDLED.items())
def test_the_bundled_agents_are_installed_under_their_names(name, agent_class):
    assert agent_entries()[name].load() is agent_class
    assert type(make_agent(name, keep_fraction=0.5)) is agent_class


@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_agent_has_a_line_and_a_source(name):
    found = describe(agent_entries()[name])
    line, source = found.line, found.source
    assert line.endswith(".")
    assert source
    assert not source.startswith("Source")


def test_the_source_of_the_bandits_is_the_paper():
    assert {describe(agent_entries()[name]).source for name in ("ucb", "epsilon-greedy")} == {
        "Raju et al. 2021, arXiv 2111.12621"
    }


@pytest.mark.usefixtures("installed")
def test_agents_of_other_packages_are_found():
    assert list(agent_entries()) == ["own", "plain"]
    assert describe(agent_entries()["own"]).line == "Keeps nothing back."
    assert describe(agent_entries()["own"]).source == "this test"
    assert describe(agent_entries()["plain"]) == Description(
        line="", source="", needs=("loss", "correct", "labels", "validation")
    )
    assert make_agent("own", keep_fraction=0.5).speed == 1
    assert make_agent("plain", keep_fraction=0.5).speed == 0.5
    with pytest.raises(TypeError, match="`agent` must be an agent, got 'full speed'; derive its"):
        make_agent("plain", keep_fraction=1)


@pytest.mark.parametrize("name", ["static-random", "random", "epsilon-greedy", "ucb"])
def test_the_keep_fraction_is_handed_on(name):
    assert make_agent(name, keep_fraction=0.35).keep_fraction == 0.35


@pytest.mark.parametrize("name", ["full", "short"])
def test_the_keep_fraction_is_not_forced_on_agents_that_keep_all(name):
    assert make_agent(name, keep_fraction=0.35).keep_fraction == 1


def test_arguments_are_read_as_numbers_and_words():
    agent = make_agent("ucb:c=0.5,rule=ucb1,period=10,refresh=forward", keep_fraction=0.3)
    assert (agent.c, agent.rule, agent.period, agent.refresh) == (0.5, "ucb1", 10, "forward")
    assert type(agent.period) is int


@pytest.mark.parametrize("key", ["keep_fraction", "keep-fraction"])
def test_an_argument_wins_over_the_common_keep_fraction(key):
    assert make_agent(f"ucb:{key}=0.7", keep_fraction=0.3).keep_fraction == 0.7


def test_a_colon_without_arguments_is_allowed():
    assert make_agent("ucb:", keep_fraction=0.3).c == 1


@pytest.mark.parametrize(
    "text",
    [
        "a+b.safetensors",
        "run,2/policy",
        'odd "name", here',
        "1e5",
        "true",
        "runs/a+1",
        "plain",
        "ü,",
    ],
)
def test_text_is_read_as_it_was_written(monkeypatch, text):
    class Entry:
        name, value = "own", "this:Own"

        def load(self):
            return Own

    monkeypatch.setattr(registry, "agent_entries", lambda: {"own": Entry()})
    spec = f"own:speed={spec_value(text)}"
    assert make_agent(spec, keep_fraction=0.5).speed == text
    assert spec_value("runs/mine/policy.safetensors") == "runs/mine/policy.safetensors"


def test_quoted_values_go_with_modifiers_and_other_arguments():
    agent = make_agent('ucb:refresh="forward",c=2+anneal:0.25,data="random"', keep_fraction=0.3)
    assert (agent.share, agent.data, agent.agent.refresh) == (0.25, "random", "forward")


class Broken:
    name, value = "broken", "stranger.module:Agent"

    def load(self):
        raise ImportError("no stranger")


def test_an_agent_that_cannot_be_loaded_takes_nothing_else_down(monkeypatch):
    known = agent_entries()
    monkeypatch.setattr(registry, "agent_entries", lambda: known | {"broken": Broken()})
    broken = describe(Broken())
    line, source = broken.line, broken.source
    assert line == "cannot be loaded: ImportError('no stranger')"
    assert source == "stranger.module:Agent"
    assert agents_of(KnowsPropensities) == ["epsilon-greedy", "random", "rs2"]
    message = r"`agent` 'broken' cannot be loaded from stranger.module:Agent \(ImportError.*repair"
    with pytest.raises(ValueError, match=message):
        make_agent("broken", keep_fraction=0.5)
    with pytest.raises(ValueError, match="`agent` under Rescale must know its propensities"):
        make_agent("ucb+rescale:source=known", keep_fraction=0.5)


MODIFIERS = {
    "anneal": Anneal,
    "warm-up": WarmUp,
    "class-balance": ClassBalance,
    "rescale": Rescale,
}


@pytest.mark.parametrize(("name", "modifier_class"), MODIFIERS.items())
def test_the_bundled_modifiers_go_around_an_agent(name, modifier_class):
    assert modifier_entries()[name].load() is modifier_class
    agent = make_agent(f"random:period=2+{name}", keep_fraction=0.4)
    assert type(agent) is modifier_class
    assert (agent.agent.keep_fraction, agent.agent.period) == (0.4, 2)
    found = describe(modifier_entries()[name])
    assert found.line
    assert found.source


def test_modifiers_are_put_around_from_the_left_and_take_a_first_argument_without_a_key():
    agent = make_agent("ucb:c=1e+1+anneal:0.25,data=random+rescale:norm=epoch", keep_fraction=0.3)
    assert (type(agent), agent.norm) == (Rescale, "epoch")
    assert (agent.agent.share, agent.agent.data) == (0.25, "random")
    assert agent.agent.agent.c == 10


def test_agents_are_found_by_what_they_are():
    assert agents_of(KnowsPropensities) == ["epsilon-greedy", "random", "rs2"]
    assert agents_of(ScoreAgent) == ["aum", "el2n", "forgetting", "grand"]
    prepare = [name for name in BUNDLED if make_agent(name, keep_fraction=0.5).prepares]
    assert sorted(prepare) == ["aum", "ccs", "el2n", "forgetting", "grand", "rho-loss"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "ucb+aneal",
            r"`modifier` must be one of anneal, .*, got 'aneal'; did you mean 'anneal'\?",
        ),
        ("ucb+xyz", r"`modifier` must be .*, got 'xyz'; see `prune-env list modifiers`"),
        ("ucb+", r"`agent` must be one of .*, got 'ucb\+'"),
        ("ucb+anneal:shape=2", r"`modifier` 'anneal' takes share, data, got shape in"),
        ("ucb+anneal:0.1,0.2", r"`modifier` arguments are written name:key=value"),
        (
            "learned:path=a+b.safetensors",
            r"got 'b.safetensors'; .*; a value with a comma or a \+ in",
        ),
        ("ucb+anneal:0.1,share=0.2", r"`modifier` arguments must be given once each"),
        ("ucb+anneal:12", r"`share` must be in \[0, 1\], got 12; did you pass a percentage\?"),
        ("anneal", r"`agent` must be one of"),
    ],
)
def test_a_bad_modifier_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        make_agent(spec, keep_fraction=0.3)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("greedy", r"`agent` must be one of .*, got 'greedy'; did you mean 'epsilon-greedy'\?"),
        ("xyz", r"`agent` must be one of aum, ccs, .*, got 'xyz'; see `prune-env list agents`$"),
        ("", r"`agent` must be one of .*, got ''"),
        (
            "ucb:speed=3",
            r"`agent` 'ucb' takes keep_fraction, c, .*, got speed in 'ucb:speed=3'",
        ),
        ("full:period=2", r"`agent` 'full' takes no arguments, got period in 'full:period=2'"),
        ("ucb:c", r"written name:key=value,key=value, got 'ucb:c'"),
        ("ucb:c=", r"written name:key=value,key=value, got 'ucb:c='"),
        ("ucb:=3", r"written name:key=value,key=value, got 'ucb:=3'"),
        ("ucb:c=-1", r"`c` must be finite and at least 0, got -1"),
        ("ucb:c=NaN", r"`c` must be finite and at least 0, got nan"),
        ("random:keep_fraction=30", r"`keep_fraction` must be in .* got 30; did you pass a perc"),
    ],
)
def test_a_bad_spec_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        make_agent(spec, keep_fraction=0.3)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ucb:period=1.5", r"`period` must be a whole number, got 1.5"),
        ("ucb:c=high", r"`c` must be a number, got 'high'"),
        ("epsilon-greedy:epsilon=true", r"`epsilon` must be a number, got True"),
    ],
)
def test_an_argument_of_another_type_is_refused(spec, message):
    with pytest.raises(TypeError, match=message):
        make_agent(spec, keep_fraction=0.3)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("random", ()),
        ("ucb", ("loss",)),
        ("ucb:refresh=forward", ("loss", "score")),
        ("kakurenbo", ("loss", "correct", "probabilities", "score")),
        ("stalest+class-balance:1", ("labels",)),
        ("learned", ("loss", "correct", "validation")),
        ("el2n", ("labels", "probabilities", "pretraining")),
    ],
)
def test_what_an_agent_needs_is_said(spec, expected):
    assert needs(make_agent(spec, keep_fraction=0.25)) == expected


def test_the_list_says_what_agents_need(capsys):
    main(["list", "agents"])
    shown = capsys.readouterr().out
    assert "needs: loss, correct, probabilities, score" in shown.replace("\n", " ")
