"""Tasks by name: which data, which network, which recipe."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from typing import Any

import torch
from torch import nn

from prune_env.arguments import check_callable, check_choice, check_real, check_type
from prune_env.problem import corpora, hub, sources, tables, texts
from prune_env.problem.data import Dataset, DatasetLoader
from prune_env.problem.inputs import is_picture
from prune_env.problem.models import check_model
from prune_env.problem.names import TASK_MODELS, TASKS
from prune_env.problem.objectives import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    NextToken,
    Objective,
    SquaredError,
)
from prune_env.problem.own_networks import ModelFactory, check_factory
from prune_env.problem.recipes import MODEL_RECIPES, REGRESSION, Recipe
from prune_env.problem.split import SplitMaker
from prune_env.problem.token_networks import TOKEN_NETWORKS


@dataclass(frozen=True, kw_only=True)
class Task:
    """A learning problem without its scenario, seed and budget.

    Attributes:
        name: as registered.
        load: delivers the dataset; called once a process.
        model: a name of `prune_env.problem.names.MODELS`, or (input_shape, num_classes) -> module,
            a new one each time; what is frozen in it may be shared.
        recipe: how `model` is trained.
        validation_fraction: share of the training data to validate on, in (0, 1).
        citation: where the data are from, one line.
        cuda_graphs: on a GPU, capture an update of the network as one CUDA graph, which runs no
            Python: what its forward() decides or draws there stays as it was in the first. False
            runs it each time, slower.
    """

    name: str
    load: DatasetLoader
    model: str | ModelFactory
    recipe: Recipe
    validation_fraction: float = 0.1
    citation: str = ""
    cuda_graphs: bool = True

    def __post_init__(self) -> None:
        """Check what can be checked before the data are loaded."""
        check_type("name", self.name, str, "a text")
        check_callable("load", self.load, "a function without arguments that returns a Dataset")
        check_type("recipe", self.recipe, Recipe, "a prune_env.Recipe")
        check_choice("cuda_graphs", self.cuda_graphs, [False, True])
        check_real("validation_fraction", self.validation_fraction)
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"`validation_fraction` must be in (0, 1), got {self.validation_fraction}"
            )
        if isinstance(self.model, str):
            check_model(self.model)
        elif isinstance(self.model, nn.Module):
            raise TypeError(
                "`model` must be a name or a function (input_shape, num_classes) -> module, got "
                f"the module {type(self.model).__name__}; every episode starts from fresh "
                "weights: build it inside that function"
            )
        else:
            rule = "a name or a function (input_shape, num_classes) -> module"
            check_callable("model", self.model, rule)
            check_factory(self.model)

    @property
    def as_pictures(self) -> bool:
        """Whether inputs (C, H, W) are used as pictures, and not as vectors by an mlp."""
        is_mlp = isinstance(self.model, str) and self.model.startswith("mlp")
        return not is_mlp or self.recipe.needs_pictures

    @property
    def draws(self) -> bool:
        """Whether something of a user's own, such as a network's layers, may draw in training."""
        return not isinstance(self.model, str) or self.recipe.has_functions

    def with_model(self, model: str | None) -> Task:
        """The same data under another network and that network's own recipe."""
        if model is None:
            return self
        check_model(model)
        family = model.partition(":")[0]
        if isinstance(self.model, str) and self.model.partition(":")[0] == family:
            return replace(self, model=model)
        return replace(self, model=model, recipe=self._recipe_of(family))

    def _recipe_of(self, family: str) -> Recipe:
        """A network's own recipe, which crops and mirrors where the task's does.

        How is the network's affair where its recipe says so. An mlp gains nothing by it.
        """
        own, task = MODEL_RECIPES[family], self.recipe
        if family == "mlp":
            return own
        padding = task.crop_padding and (own.crop_padding or task.crop_padding)
        views = own.test_views if task.flip else 1
        return replace(
            own,
            crop_padding=padding,
            flip=task.flip and (own.flip or task.flip),
            test_views=views,
        )


TaskFactory = Callable[[], Task]


def _digits() -> Task:
    return _built_in("digits", sources.load_digits, MODEL_RECIPES["mlp"], validation_fraction=0.25)


def _gray(name: str) -> Task:
    return _built_in(name, partial(sources.load_torchvision, name), MODEL_RECIPES["cnn"])


def _coloured(name: str) -> Task:
    return _built_in(name, partial(sources.load_torchvision, name), _PICTURES)


def _built_in(
    name: str, load: DatasetLoader, recipe: Recipe, validation_fraction: float = 0.1
) -> Task:
    return Task(
        name=name,
        load=load,
        model=TASK_MODELS[name],
        recipe=recipe,
        validation_fraction=validation_fraction,
        citation=TASKS[name],
    )


def _text(name: str, load: DatasetLoader) -> Task:
    return _built_in(name, load, MODEL_RECIPES[TASK_MODELS[name]])


def _vectors(name: str, load: DatasetLoader, recipe: Recipe) -> Task:
    return _built_in(name, load, recipe, validation_fraction=0.25)


_PICTURES = replace(MODEL_RECIPES["cnn"], crop_padding=4, flip=True)
_PAIRS = replace(REGRESSION, batch_size=16, learning_rate=0.03)
_FACTORIES: dict[str, TaskFactory] = {
    "digits": _digits,
    "mnist": partial(_gray, "mnist"),
    "fashion_mnist": partial(_gray, "fashion_mnist"),
    "cifar10": partial(_coloured, "cifar10"),
    "cifar100": partial(_coloured, "cifar100"),
    "diabetes": partial(_vectors, "diabetes", tables.load_diabetes, REGRESSION),
    "digit-pairs": partial(_vectors, "digit-pairs", corpora.load_digit_pairs, _PAIRS),
    "sources": partial(_text, "sources", corpora.load_sources),
    "corpora": partial(_text, "corpora", corpora.load_corpora),
}
# What is read from a path: by what begins its name, how it is read and what is trained on it.
_READ: dict[str, tuple[Callable[[str], Dataset], str, Recipe, str]] = {
    "folder": (sources.load_folder, "cnn", _PICTURES, "class folders"),
    "table": (tables.load_table, "mlp", REGRESSION, "a table"),
    "text": (texts.load_texts, "bag", MODEL_RECIPES["bag"], "texts"),
    "hf": (hub.load_hub, "mlp", REGRESSION, "a dataset of Hugging Face's library"),
}
_OF_A_WHOLE = (CrossEntropy, BinaryCrossEntropy, SquaredError, AbsoluteError)  # and of no token
PATHS = "folder:PATH, table:PATH?target=COLUMN, text:PATH or hf:PATH"
FOLDER_PREFIX = "folder:"


def register_task(name: str, factory: TaskFactory) -> None:
    """Make a task of one's own available by name, in `gymnasium.make` and on every agent.

    A spawned worker process starts without it, but for those that play the episodes of a
    comparison: register in a module that the worker imports.

    Args:
        name: new name, without a blank, a quote or a colon, which part names from options.
        factory: called without arguments when the task is first used.

    Raises:
        ValueError: if the name is taken, empty, or has a blank, a quote or a colon.
        TypeError: if the name is no text, or the factory cannot be called.
    """
    check_type("name", name, str, "a text")
    check_callable("factory", factory, "a function without arguments that returns a Task")
    if name in _FACTORIES or not re.fullmatch(r"[^\s:\"'\\]+", name):
        raise ValueError(
            "`name` must be new, not empty, and without blanks, quotes, backslashes and colons, "
            f"got {name!r}; taken: {', '.join(_FACTORIES)}"
        )
    _FACTORIES[name] = factory


def own_factories(names: Iterable[str]) -> dict[str, TaskFactory]:
    """The tasks among some that `register_task` has made, for processes that lack them.

    Args:
        names: of tasks, those that are bundled and those of a path among them.

    Returns:
        Their factories, by name.
    """
    return {name: _FACTORIES[name] for name in names if name in _FACTORIES and name not in TASKS}


def adopt_factories(factories: Mapping[str, TaskFactory]) -> None:
    """Register tasks of another process, those that this one has already aside.

    Args:
        factories: as `own_factories` gives them there.
    """
    for name, factory in factories.items():
        _FACTORIES.setdefault(name, factory)


def task_names() -> list[str]:
    """Names of the tasks that can be used, those of a path (`folder:PATH` and others) aside."""
    return list(_FACTORIES)


@cache
def get_task(name: str) -> Task:
    """The task of that name; of a path, what there is at `folder:PATH` and the like.

    Raises:
        ValueError: if there is none.
    """
    kind, colon, rest = name.partition(":")
    if colon and kind in _READ:
        read, model, recipe, citation = _READ[kind]
        if kind == "hf" and re.search("[?&]text=", rest):
            model, recipe = "bag", MODEL_RECIPES["bag"]
        return Task(
            name=name, load=partial(read, rest), model=model, recipe=recipe, citation=citation
        )
    if name not in _FACTORIES:
        near = difflib.get_close_matches(name, _FACTORIES, n=1)
        raise ValueError(
            f"`task` must be one of {', '.join(_FACTORIES)}, {PATHS}, got {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else "; see register_task")
        )
    task = _FACTORIES[name]()
    if not isinstance(task, Task):
        raise TypeError(f"the factory of task {name!r} must return a Task, got {type(task)}")
    return task


def check_recipe(task: Task, input_shape: Any, objective: Objective) -> None:
    """Raise ValueError where the recipe does what such data do not allow.

    That is cropping or mirroring what is no picture, smoothing what is no class, or training a
    network of ours that says something of each token where a sample has one target, and likewise
    the other way round.
    """
    recipe = task.recipe
    family = task.model.partition(":")[0] if isinstance(task.model, str) else ""
    wanted = {NextToken: "transformer", **dict.fromkeys(_OF_A_WHOLE, "bag")}.get(type(objective))
    if family in TOKEN_NETWORKS and wanted not in (family, None):
        raise ValueError(
            f"`model` of task {task.name!r} must be {wanted!r} for the objective "
            f"{objective.name!r}, got {task.model!r}: a transformer predicts what follows each "
            "token, a bag says one thing of a text"
        )
    if recipe.needs_pictures and not is_picture(input_shape):
        raise ValueError(
            f"`recipe` of task {task.name!r} must have flip=False and crop_padding=0, augment=None "
            "and test_views=1 for inputs that are no pictures (channels, height, width), got "
            f"flip={recipe.flip}, crop_padding={recipe.crop_padding}, augment={recipe.augment}, "
            f"test_views={recipe.test_views} and inputs of shape {input_shape}"
        )
    if recipe.crop_border == "reflect" and 0 < recipe.crop_padding >= min(input_shape[1:]):
        raise ValueError(
            f"`recipe` of task {task.name!r} must have crop_padding below the sides that it "
            f"mirrors, got {recipe.crop_padding} for {input_shape}; lower it, or take "
            "crop_border='mean'"
        )
    if recipe.label_smoothing and not isinstance(objective, CrossEntropy):
        raise ValueError(
            f"`recipe` of task {task.name!r} must have label_smoothing=0 for the objective "
            f"{objective.name!r}, got {recipe.label_smoothing}; it smooths classes"
        )


@lru_cache(maxsize=8)
def split_maker(task: Task, device: torch.device, as_pictures: bool) -> SplitMaker:
    """The task's data, loaded and on `device`, shared by every environment of this process."""
    dataset = task.load()
    rule = f"a function that returns a Dataset for task {task.name!r} (see Dataset.from_arrays)"
    if not isinstance(dataset, Dataset):
        raise TypeError(f"`load` must be {rule}, got one that returns a {type(dataset).__name__}")
    return SplitMaker(
        dataset,
        validation_fraction=task.validation_fraction,
        device=device,
        as_pictures=as_pictures,
    )
