"""Which number format is meant, and that it reaches the network and the records."""

import pytest
import torch
from conftest import blob_task

from prune_env.env import DataPruningEnv
from prune_env.training import precision
from prune_env.training.precision import resolve_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("has_it", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_auto_is_bfloat16_where_it_pays(monkeypatch, has_it, large):
    monkeypatch.setattr(precision, "_has_bfloat16", lambda device: has_it)
    expected = "bfloat16" if has_it and large else "float32"
    assert resolve_precision("auto", CPU, large=large) == expected
    assert resolve_precision("float32", CPU, large=large) == "float32"
    assert resolve_precision("bfloat16", CPU, large=large) == "bfloat16"


def test_an_unknown_precision_is_named():
    with pytest.raises(ValueError, match="`precision` must be one of 'auto', 'float32'"):
        DataPruningEnv("digits", precision="half")


def test_a_bfloat16_episode_is_deterministic_and_unlike_a_float32_one():
    def losses(name):
        env = DataPruningEnv(
            blob_task(shape=(1, 8, 8), model="cnn"), precision=name, budget=1.0, keep_fraction=0.5
        )
        env.reset(seed=0)
        env.action_space.seed(0)
        assert env.precision == name
        return [env.step(env.action_space.sample())[4]["validation_loss"] for _ in range(2)]

    assert losses("bfloat16") == losses("bfloat16") != losses("float32")
