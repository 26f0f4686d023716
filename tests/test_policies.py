"""Policy files: there and back, what is refused and why, and the agent."""

import json
import os

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from prune_agents.learning.network import Network
from prune_agents.learning.policy import (
    Learned,
    Policy,
    action_entries,
    bundled_policy,
    load_policy,
    observation_columns,
)
from prune_env.decision.statistics import FEATURES
from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import make_agent
from prune_env.experiment.comparison import Comparison, run_episode
from prune_env.experiment.results import Results

COLUMNS = ("progress", "class_entropy")


def linear(inputs, outputs, seed=0):
    rng = np.random.default_rng(seed)
    return Network(
        mean=np.zeros(inputs, np.float32),
        scale=np.ones(inputs, np.float32),
        weights=(rng.normal(size=(outputs, inputs)).astype(np.float32),),
        biases=(np.zeros(outputs, np.float32),),
    )


@pytest.fixture
def policy():
    return Policy(
        network=linear(2, len(FEATURES)),
        action="features",
        columns=COLUMNS,
        provenance={"versions": {"prune_env": "0.0.9"}},
    )


@pytest.fixture
def file(policy, tmp_path):
    policy.save(tmp_path / "policy.safetensors")
    return tmp_path / "policy.safetensors"


def rewrite(file, **changes):
    """The same file with another description."""
    with safe_open(file, framework="numpy") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        described = json.loads(opened.metadata()["prune_env"]) | changes
    save_file(tensors, file, {"prune_env": json.dumps(described)})


def test_there_and_back(policy, file):
    again = load_policy(file)
    observation = np.random.default_rng(0).uniform(size=(3, 28)).astype(np.float32)
    np.testing.assert_array_equal(again.act(observation), policy.act(observation))
    assert again.provenance == policy.provenance
    assert again.columns == COLUMNS
    assert again.env_arguments == {
        "observation": "summary",
        "action": "features",
        "choose_keep_fraction": False,
    }


def test_it_sees_its_columns_only(policy):
    observation = np.zeros(28, np.float32)
    quiet = policy.act(observation)
    names = observation_columns("summary")
    for name in names:
        changed = observation.copy()
        changed[names.index(name)] = 0.5
        assert (policy.act(changed) != quiet).any() == (name in COLUMNS)


def test_nothing_is_overwritten(policy, file):
    with pytest.raises(FileExistsError, match="is there already"):
        policy.save(file)


def test_other_columns_and_entries_are_named(file):
    rewrite(file, columns=["progress", "mood"], entries=["loss", "luck"])
    with pytest.raises(ValueError, match="column 'mood'; action entries") as error:
        load_policy(file)
    assert "made by 0.0.9" in str(error.value)
    assert "['loss', 'luck'] against ['loss_mean'" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 7}, "has format 7 and this version reads 1 and 2"),
        ({"format": 1}, "samples never seen came last, and now they come first.*train it anew"),
        ({"action": "wish"}, "action 'wish', which this version has not"),
        ({"columns": ["progress"]}, "must take 1 inputs and give 7 outputs, got 2 and 7"),
    ],
)
def test_a_file_of_another_kind_is_refused(file, changes, message):
    rewrite(file, **changes)
    with pytest.raises(ValueError, match=message):
        load_policy(file)


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": None},
        {"columns": 3},
        {"entries": None},
        {"observation": []},
        {"action": {}},
        {"provenance": [], "columns": ["mood"]},
    ],
)
def test_an_odd_description_is_refused(file, changes):
    rewrite(file, **changes)
    with pytest.raises(ValueError, match=r"`path` .*policy.safetensors"):
        load_policy(file)


@pytest.mark.parametrize("text", ["[]", "7", "{}", '{"format": 1}'])
def test_a_description_that_is_none_is_refused(tmp_path, text):
    save_file({"mean": np.zeros(1)}, tmp_path / "odd", {"prune_env": text})
    with pytest.raises(ValueError, match=r"`path` .*odd"):
        load_policy(tmp_path / "odd")


def test_whether_it_chooses_how_much_is_yes_or_no(file):
    rewrite(file, choose_keep_fraction="yes")
    with pytest.raises(ValueError, match="`choose_keep_fraction` must be one of False, True"):
        load_policy(file)


def test_saving_touches_no_other_file(policy, tmp_path):
    (tmp_path / "mine.part").write_text("precious")
    policy.save(str(tmp_path / "mine.safetensors"))
    assert {path.name for path in tmp_path.iterdir()} == {"mine.part", "mine.safetensors"}
    assert (tmp_path / "mine.part").read_text() == "precious"
    assert load_policy(str(tmp_path / "mine.safetensors")).digest == policy.digest


def test_the_digest_is_of_what_a_policy_does(policy, file):
    assert load_policy(file).digest == policy.digest
    assert policy.with_provenance({"seed": 3}).digest == policy.digest
    other = Policy(network=linear(2, len(FEATURES), seed=1), action="features", columns=COLUMNS)
    swapped = Policy(network=policy.network, action="features", columns=COLUMNS[::-1])
    constant = Policy(network=linear(0, len(FEATURES)), action="features", columns=())
    assert len({policy.digest, other.digest, swapped.digest, constant.digest}) == 4


def test_a_policy_that_was_replaced_is_not_gone_on_with(file, tmp_path):
    def compare(seeds):
        chosen = Comparison(
            tasks=("blobs",),
            scenarios=("clean",),
            agents=(f"learned:path={file}",),
            seeds=seeds,
            epochs=4,
            keep_fraction=0.25,
        )
        chosen.run(Results(chosen.settings, tmp_path / "out"))

    compare((0,))
    file.unlink()
    Policy(network=linear(2, len(FEATURES), seed=1), columns=COLUMNS).save(file)
    with pytest.raises(ValueError, match=r"made of something else \(agent digest '\w+' there and"):
        compare((0, 1))


def test_no_policy_file_at_all_is_refused(tmp_path):
    for name, content in {"missing": None, "pickle": b"\x80\x04N.", "empty": b""}.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="`path` must be a policy file, got"):
            load_policy(tmp_path / name)
    save_file({"x": np.zeros(1)}, tmp_path / "plain")
    with pytest.raises(ValueError, match="must be a policy file"):
        load_policy(tmp_path / "plain")


def test_a_path_that_is_no_file_is_refused_by_name_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    places = {tmp_path / "pipe": "a pipe", tmp_path: "a folder", "/dev/zero": "a device"}
    for path, kind in places.items():
        message = rf"`path` must be a policy file, got {path} \(it is .*{kind}"
        for use in (load_policy, lambda path: Learned(path=str(path))):
            with pytest.raises(ValueError, match=message):
                use(path)


def test_a_flipped_bit_anywhere_in_it_is_noticed(policy, file):
    whole = file.read_bytes()
    for place in range(0, len(whole), 5):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            again = load_policy(file)
        except ValueError as error:
            assert str(file) in str(error)  # noqa: PT017
        else:  # the name of the checksum, or what safetensors pass over
            assert (again.digest, again.provenance) == (policy.digest, policy.provenance)


def test_numbers_that_were_changed_are_noticed(file):
    with safe_open(file, framework="numpy") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata()
    tensors["bias 0"] = tensors["bias 0"] + np.float32(0.5)
    save_file(tensors, file, metadata)
    with pytest.raises(ValueError, match=rf"`path` {file}: it was changed after it was written"):
        load_policy(file)


def test_a_file_without_a_checksum_is_refused(file):
    with safe_open(file, framework="numpy") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        described = json.loads(opened.metadata()["prune_env"])
    del described["checksum"]
    save_file(tensors, file, {"prune_env": json.dumps(described)})
    with pytest.raises(ValueError, match="it was changed after it was written"):
        load_policy(file)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bias 0", np.full(7, np.nan, np.float32), "`weights` must be finite"),
        ("bias 0", np.zeros((7, 1), np.float32), "`bias 0` must be a vector of floats"),
        ("bias 0", np.zeros(7, np.int32), "`bias 0` must be a vector of floats, got int32"),
        ("mean", np.zeros((2, 1), np.float32), "`mean` must be a vector of floats"),
        ("mean", np.zeros((), np.float32), "`mean` must be a vector of floats"),
        ("scale", np.zeros(2, np.float32), "`scale` must be 2 numbers above 0"),
        ("weight 0", np.zeros((2, 7), np.float32), "`weights` of a layer must have shape"),
        ("extra", np.zeros(2, np.float32), "a network has no tensors \\['extra'\\]"),
        ("weight 7", np.zeros((2, 7), np.float32), "a network needs the tensors"),
    ],
)
def test_tensors_of_another_kind_are_refused_by_file_and_name(file, name, value, message):
    with safe_open(file, framework="numpy") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        described = json.loads(opened.metadata()["prune_env"])
    save_file(tensors | {name: value}, file, {"prune_env": json.dumps(described)})
    with pytest.raises(ValueError, match=rf"`path` {file}: .*{message}"):
        load_policy(file)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"format": NaN}', '{"format": 1, "format": 1}', "\ufeff{}"]
)
def test_a_description_that_is_no_plain_json_is_refused(tmp_path, text):
    save_file({"mean": np.zeros(1)}, tmp_path / "odd", {"prune_env": text})
    with pytest.raises(ValueError, match=r"`path` must be a policy file, got .*odd"):
        load_policy(tmp_path / "odd")


def test_an_environment_it_is_not_for_is_refused(policy):
    env = DataPruningEnv("blobs", observation="summary", action="mixture")
    with pytest.raises(ValueError, match="action 'features' for the policy and 'mixture' here"):
        policy.check(env)
    free = DataPruningEnv("blobs", **policy.env_arguments | {"choose_keep_fraction": True})
    with pytest.raises(ValueError, match=r"7 action entries for the policy and \(8,\) here"):
        policy.check(free)
    policy.check(DataPruningEnv("blobs", **policy.env_arguments))


def test_the_agent_of_a_file_runs(file):
    agent = make_agent(f"learned:path={file}", keep_fraction=0.5)
    assert agent.keep_fraction is None  # the environment's
    env = DataPruningEnv("blobs", budget=1, **agent.env_arguments)
    record = run_episode(env, agent, seed=0)
    arguments = {"path": str(file), "keep_fraction": None, "digest": agent.policy.digest}
    assert record["agent_arguments"] == arguments
    assert 0 < record["test_metric"] <= 1


def test_a_keep_fraction_of_its_own_is_honoured(file):
    agent = make_agent(f"learned:path={file},keep_fraction=0.5", keep_fraction=0.25)
    env = DataPruningEnv("blobs", **{"budget": 1, "keep_fraction": 0.25} | agent.env_arguments)
    env.reset(seed=0)
    assert env.step(np.zeros(len(FEATURES), np.float32))[-1]["keep_fraction"] == 0.5


@pytest.mark.parametrize("value", ["-1", "NaN", "abc", "0", "25"])
def test_a_bad_keep_fraction_is_refused(file, value):
    with pytest.raises((ValueError, TypeError), match="`keep_fraction` must be"):
        make_agent(f"learned:path={file},keep_fraction={value}", keep_fraction=0.25)


def test_a_path_that_reads_as_a_number_is_refused():
    with pytest.raises(TypeError, match="`path` must be text, got 12; put it in double quotes"):
        make_agent("learned:path=12", keep_fraction=0.25)


def test_a_free_keep_fraction_is_one_more_entry():
    entries = action_entries("mixture", choose_keep_fraction=True)
    assert entries[-1] == "keep_fraction"
    policy = Policy(
        network=linear(2, len(entries)),
        action="mixture",
        choose_keep_fraction=True,
        columns=COLUMNS,
    )
    env = DataPruningEnv("blobs", **policy.env_arguments)
    observation, _ = env.reset(seed=0)
    assert env.action_space.contains(Learned.of(policy).predict(observation)[0])
    with pytest.raises(ValueError, match="`keep_fraction` must not be given to a policy that"):
        Learned.of(policy, keep_fraction=0.5)


def test_the_bundled_policy_says_how_it_was_made():
    assert bundled_policy().stat().st_size < 100_000
    provenance = load_policy(bundled_policy()).provenance
    assert provenance["command"].startswith("prune-env train ")
    assert provenance["settings"]["seed"] >= 0
    assert provenance["evaluation"]["cases"]
    assert "/tmp" not in json.dumps(provenance)


def test_the_bundled_policy_in_one_line():
    agent = make_agent("learned", keep_fraction=0.25)
    env = DataPruningEnv("blobs", budget=1, **agent.env_arguments)
    assert 0 < run_episode(env, agent, seed=0)["test_metric"] <= 1
