import pickle

import pytest
import torch
from torch import nn

from prune_env.problem import sources, tasks
from prune_env.problem.data import Dataset
from prune_env.problem.names import MODELS
from prune_env.problem.recipes import MODEL_RECIPES, Recipe
from prune_env.problem.tasks import Task, get_task, register_task, split_maker, task_names


@pytest.fixture
def registry(monkeypatch):
    """A registry of the test's own."""
    monkeypatch.setattr(tasks, "_FACTORIES", dict(tasks._FACTORIES))
    get_task.cache_clear()
    yield
    get_task.cache_clear()


def tiny():
    inputs, labels = torch.zeros(8, 1), torch.arange(8) % 2
    return Dataset.from_arrays(inputs, labels, inputs, labels)


def make_task(name="tiny", load=tiny, model="mlp", recipe=MODEL_RECIPES["mlp"], **fields):
    return Task(name=name, load=load, model=model, recipe=recipe, **fields)


@pytest.mark.parametrize("fraction", [0, 1, -1, 2])
def test_a_validation_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ValueError, match=rf"`validation_fraction` .* \(0, 1\), got {fraction}"):
        make_task(validation_fraction=fraction)


@pytest.mark.parametrize("model", ["perceptron", "mlp:0"])
def test_a_bad_model_is_refused_before_data_are_loaded(model):
    with pytest.raises(ValueError, match=rf"`model` .* got '{model}'"):
        make_task(load=lambda: pytest.fail("loaded"), model=model)
    with pytest.raises(ValueError, match=rf"`model` .* got '{model}'"):
        make_task().with_model(model)


def test_no_model_leaves_the_task_as_it_is():
    task = make_task()
    assert task.with_model(None) is task


def test_another_width_keeps_the_tasks_own_recipe():
    own = Recipe(learning_rate=0.03)
    other = make_task(recipe=own).with_model("mlp:5")
    assert (other.model, other.recipe) == ("mlp:5", own)


def test_another_network_brings_its_recipe_and_keeps_the_augmentation():
    task = make_task(model="cnn", recipe=Recipe(crop_padding=4, flip=True, learning_rate=9.0))
    other = task.with_model("resnet18")
    expected = MODEL_RECIPES["resnet18"]
    assert (other.recipe.crop_padding, other.recipe.flip) == (4, True)
    assert other.recipe.learning_rate == expected.learning_rate
    assert other.recipe.label_smoothing == expected.label_smoothing
    assert (other.name, other.load) == (task.name, task.load)


def test_an_mlp_gets_no_augmentation():
    task = make_task(model="cnn", recipe=Recipe(crop_padding=4, flip=True))
    assert task.with_model("mlp:9").recipe == MODEL_RECIPES["mlp"]


def test_a_network_of_ones_own_is_replaced_with_the_recipe():
    task = make_task(model=lambda shape, num_classes: None, recipe=Recipe(learning_rate=9.0))
    assert task.with_model("mlp").recipe == MODEL_RECIPES["mlp"]


def test_bundled_tasks_are_named_as_they_are_registered():
    bundled = ["digits", "mnist", "fashion_mnist", "cifar10", "cifar100"]
    assert task_names()[:5] == bundled
    for name in bundled:
        task = get_task(name)
        assert task.name == name
        assert task.model in MODELS
        assert task.citation


@pytest.mark.parametrize("name", sorted(sources.TORCHVISION_SETS))
def test_torchvision_tasks_load_their_own_set(name):
    load = get_task(name).load
    assert load.func is sources.load_torchvision
    assert load.args == (name,)


@pytest.mark.parametrize(
    ("name", "padding", "flip"),
    [
        ("digits", 0, False),
        ("fashion_mnist", 0, False),
        ("cifar10", 4, True),
        ("folder:x", 4, True),
    ],
)
def test_only_coloured_pictures_are_augmented(name, padding, flip):
    recipe = get_task(name).recipe
    assert (recipe.crop_padding, recipe.flip) == (padding, flip)


def test_a_folder_task_reads_its_path_when_it_is_loaded():
    task = get_task("folder:/no/such:place@32")
    assert task.name == "folder:/no/such:place@32"
    with pytest.raises(ValueError, match=r"`task` folder /no/such:place does not exist"):
        task.load()


def test_bundled_tasks_travel_to_spawned_workers():
    task = get_task("cifar10")
    copy = pickle.loads(pickle.dumps(task))
    assert (copy.name, copy.model, copy.recipe) == (task.name, task.model, task.recipe)
    assert copy.load.args == ("cifar10",)


@pytest.mark.usefixtures("registry")
def test_a_registered_task_is_made_once_and_listed():
    made = []
    register_task("own", lambda: made.append(1) or make_task("own"))
    assert task_names()[-1] == "own"
    assert made == []
    assert get_task("own") is get_task("own")
    assert made == [1]


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    "name", ["digits", "my:task", "folder:x", "", " ", "a b", "a\tb", "a\n", "a'b", 'a"b', "a\\b"]
)
def test_a_taken_name_or_one_that_options_cannot_follow_is_refused(name):
    before = task_names()
    with pytest.raises(ValueError, match=r"`name` must be new, .*; taken: digits") as caught:
        register_task(name, make_task)
    assert f"got {name!r}" in str(caught.value)
    assert task_names() == before


@pytest.mark.parametrize(
    ("name", "hint"),
    [("cifar", "did you mean 'cifar10'?"), ("digit", "did you mean 'digits'?"), ("?", "register")],
)
def test_an_unknown_task_is_refused_with_the_nearest_name(name, hint):
    with pytest.raises(
        ValueError, match=r"`task` must be one of digits, .* folder:PATH, table:PATH.* or hf:PATH"
    ) as error:
        get_task(name)
    assert f"got {name!r}" in str(error.value)
    assert hint in str(error.value)


@pytest.mark.usefixtures("registry")
def test_a_factory_of_something_else_is_refused():
    register_task("own", lambda: {"name": "own"})  # type: ignore[return-value]
    with pytest.raises(TypeError, match=r"task 'own' must return a Task, got <class 'dict'>"):
        get_task("own")


def test_data_are_loaded_once_a_task_and_device():
    loads = []
    task = make_task("loaded once", lambda: loads.append(1) or tiny())
    device = torch.device("cpu")
    assert split_maker(task, device, False) is split_maker(task, device, False)
    assert loads == [1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": nn.Linear(5, 3)}, "`model` must be .*, got the module Linear; every episode"),
        ({"model": 3}, "`model` must be a name or a function .*, got 3"),
        ({"recipe": {}}, r"`recipe` must be a prune_env.Recipe, got \{\}"),
        ({"load": tiny()}, "`load` must be a function without arguments that returns a Dataset"),
        ({"name": None}, "`name` must be a text, got None"),
        ({"validation_fraction": "a"}, "`validation_fraction` must be a number, got 'a'"),
    ],
)
def test_a_field_of_another_type_is_refused(fields, message):
    with pytest.raises(TypeError, match=message):
        make_task(**fields)


def test_a_class_of_networks_is_a_factory():
    assert make_task(model=nn.Linear).model is nn.Linear


@pytest.mark.usefixtures("registry")
def test_only_a_factory_is_registered():
    with pytest.raises(
        TypeError, match=r"`factory` must be a function .* returns a Task, got Task"
    ):
        register_task("own", make_task())
    with pytest.raises(TypeError, match="`name` must be a text, got 3"):
        register_task(3, make_task)
    assert "own" not in task_names()


def test_a_loader_of_something_else_is_refused():
    task = make_task("pair", lambda: (torch.zeros(8, 1), torch.arange(8) % 2))
    with pytest.raises(TypeError, match=r"`load` must be .* 'pair' \(see .*\), .* returns a tuple"):
        split_maker(task, torch.device("cpu"), False)
