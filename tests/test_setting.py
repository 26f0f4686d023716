"""Instances: written, read, and named without paths."""

import pytest

from prune_env.experiment.setting import Setting


def test_it_reads_what_it_writes():
    instance = Setting.parse("digits model=mlp:8 num_samples=200 budget=2.5 keep_fraction=0.5")
    assert instance == Setting(
        task="digits", model="mlp:8", num_samples=200, budget=2.5, keep_fraction=0.5
    )
    assert Setting.parse(instance.name) == instance
    assert instance.network == "mlp:8"
    assert Setting.parse("digits").name == "digits"


def test_a_folder_is_named_without_its_path():
    instance = Setting.parse("'folder:/some where/pictures@16' model=cnn")
    assert instance.arguments_for({})["task"] == "folder:/some where/pictures@16"
    assert instance.name == "folder:pictures@16 model=cnn"


def test_folders_of_one_name_are_not_one_task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, same, other = (
        Setting.parse(f"folder:{path} budget=2")
        for path in ("A/pics", f"{tmp_path}/A/pics", "B/pics")
    )
    assert first.identity == same.identity != other.identity
    assert first.identity.startswith("folder:pics budget=2 #")
    assert str(tmp_path) not in first.identity
    assert Setting.parse("digits").identity == "digits"
    Setting.check_names((first, same, first))
    message = (
        "`task` folders must differ in their own names, got 'folder:A/pics' and 'folder:B/pics'"
    )
    with pytest.raises(ValueError, match=message):
        Setting.check_names((first, other))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "digits colour=red",
            "with each of model, num_samples, validation_samples, budget, keep_fraction at",
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
        Setting.parse(text)


def test_an_environment_gets_a_keep_fraction_only_where_it_has_an_effect():
    instance = Setting.parse("digits keep_fraction=0.5 budget=2")
    told = instance.arguments_for({"action": "mixture", "observation": "summary"})
    assert (told["keep_fraction"], told["budget"], told["action"]) == (0.5, 2, "mixture")
    assert "keep_fraction" not in instance.arguments_for({"action": "mask"})
    assert (
        instance.arguments_for({"action": "mixture", "keep_fraction": 0.1})["keep_fraction"] == 0.1
    )
