import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.problem.models import MODELS
from prune_env.problem.recipes import MODEL_RECIPES, Recipe


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (0.0, 0.5 / 25),
        (0.1, (0.5 + 0.5 / 25) / 2),
        (0.2, 0.5),
        (0.6, (0.5 + 0.5 / 250_000) / 2),
        (1.0, 0.5 / 250_000),
        (1.7, 0.5 / 250_000),
    ],
)
def test_one_cycle_by_hand(progress, expected):
    recipe = Recipe(learning_rate=0.5, warmup=0.2)
    assert recipe.learning_rate_at(progress) == pytest.approx(expected, rel=1e-9)


def test_one_cycle_is_pytorchs():
    recipe, steps = Recipe(learning_rate=0.3, warmup=0.3), 101
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 0.3, total_steps=steps, pct_start=31 / 101, cycle_momentum=False
    )
    for step in range(steps - 1):
        assert recipe.learning_rate_at(step / (steps - 1)) == pytest.approx(
            optimiser.param_groups[0]["lr"], rel=1e-6
        )
        optimiser.step()
        schedule.step()


@pytest.mark.parametrize(
    ("progress", "expected"), [(0, 0.5), (1 / 3, 0.375), (0.5, 0.25), (1, 0), (2, 0)]
)
def test_cosine_by_hand(progress, expected):
    recipe = Recipe(learning_rate=0.5, schedule="cosine")
    assert recipe.learning_rate_at(progress) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("progress", [0, 0.5, 1])
def test_constant_is_the_peak(progress):
    assert Recipe(learning_rate=0.5, schedule="constant").learning_rate_at(progress) == 0.5


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["one-cycle", "cosine", "constant"]),
    st.floats(0.01, 0.99),
    st.floats(0, 1),
)
def test_the_learning_rate_never_leaves_its_range(schedule, warmup, progress):
    recipe = Recipe(schedule=schedule, warmup=warmup)
    assert 0 <= recipe.learning_rate_at(progress) <= recipe.learning_rate


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("batch_size", 0, "at least 1"),
        ("optimiser", "lars", "one of ('sgd', 'adamw') or a function"),
        ("learning_rate", 0, "finite and above 0"),
        ("learning_rate", -0.1, "finite and above 0"),
        ("learning_rate", math.inf, "finite and above 0"),
        ("learning_rate", math.nan, "finite and above 0"),
        ("momentum", 1, "in [0, 1)"),
        ("momentum", -0.1, "in [0, 1)"),
        ("weight_decay", -1e-4, "finite and at least 0"),
        ("weight_decay", math.inf, "finite and at least 0"),
        ("label_smoothing", 1, "in [0, 1)"),
        ("label_smoothing", -0.1, "in [0, 1)"),
        (
            "schedule",
            "step",
            "one of ('one-cycle', 'cosine', 'constant', 'triangle') or a function",
        ),
        ("warmup", 0, "in (0, 1)"),
        ("warmup", 1, "in (0, 1)"),
        ("crop_padding", -1, "at least 0"),
    ],
)
def test_a_bad_field_is_refused(name, value, rule):
    with pytest.raises(ValueError, match=f"`{name}`") as caught:
        Recipe(**{name: value})
    assert str(caught.value) == f"`{name}` must be {rule}, got {value!r}"


@pytest.mark.parametrize(
    "fields",
    [
        {"momentum": 0, "weight_decay": 0, "label_smoothing": 0, "crop_padding": 0},
        {"batch_size": 1, "optimiser": "adamw", "schedule": "cosine"},
    ],
)
def test_the_ends_of_the_ranges_are_allowed(fields):
    assert {name: getattr(Recipe(**fields), name) for name in fields} == fields


def test_every_model_has_a_recipe():
    assert MODEL_RECIPES.keys() == MODELS.keys()


@pytest.mark.parametrize(
    "name", ["learning_rate", "momentum", "weight_decay", "label_smoothing", "warmup"]
)
@pytest.mark.parametrize("value", ["a", None])
def test_a_field_that_is_no_number_is_refused(name, value):
    with pytest.raises(TypeError, match=f"`{name}` must be a number, got {value!r}"):
        Recipe(**{name: value})


def test_flip_is_true_or_false():
    with pytest.raises(ValueError, match="`flip` must be False, True or 'alternate', got 'yes'"):
        Recipe(flip="yes")
