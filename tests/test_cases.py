"""Cases: written, read, and named without paths."""

import pytest

from prune_agents.cases import Case


def test_it_reads_what_it_writes():
    case = Case.parse("digits model=mlp:8 num_samples=200 budget=2.5 keep_fraction=0.5")
    assert case == Case(
        task="digits", model="mlp:8", num_samples=200, budget=2.5, keep_fraction=0.5
    )
    assert Case.parse(case.name) == case
    assert case.network == "mlp:8"
    assert Case.parse("digits").name == "digits"


def test_a_folder_is_named_without_its_path():
    case = Case.parse("'folder:/some where/pictures@16' model=cnn")
    assert case.env_arguments["task"] == "folder:/some where/pictures@16"
    assert case.name == "folder:pictures@16 model=cnn"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "digits colour=red",
            "with each of model, num_samples, budget, keep_fraction at most once",
        ),
        ("digits budget=2 budget=3", "got 'budget=3'"),
        ("digits budget=", "got 'budget='"),
        ("digits keep_fraction=25", "`keep_fraction` must be in .* did you pass a percentage"),
        ("digit", "did you mean 'digits'"),
        ("", "`task` must be one of"),
        ("digits model=vgg", "`model` must be one of"),
    ],
)
def test_what_does_not_fit_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        Case.parse(text)
