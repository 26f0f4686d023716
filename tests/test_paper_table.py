"""The paper's table: what is played when, that pieces change nothing, and what is written."""

import json
from dataclasses import replace

import paper
import paper_presets
import paper_table
import paper_table_report as report
import pytest
from conftest import blobs, make_record, unaligned
from paper_presets import KEPT, PRESETS, Training, agents_of, stages
from paper_published import PUBLISHED
from PIL import Image

from prune_env.experiment.agents import make_agent
from prune_env.experiment.records import Record
from prune_env.problem.recipes import Recipe
from prune_env.problem.tasks import Task

TINY = Training(
    task="blobs",
    network="mlp:8",
    epochs=4.0,
    targets=(0.5, 1.0),
    scores=("el2n:epochs=2,networks=1,schedule=4",),
    num_seeds=2,
)


@pytest.fixture
def tiny(monkeypatch, own_cache):
    """A preset of few agents on blobs."""

    def make(*trainings, first=("short", "ucb:refresh=forward-only,period=2")):
        monkeypatch.setitem(PRESETS, "small", trainings or (TINY,))
        monkeypatch.setattr(paper_presets, "FIRST", first)
        monkeypatch.setattr(paper_presets, "SECOND", ("infobatch",))
        monkeypatch.setattr(paper_presets, "THIRD", ())

    return make


def play(folder, **arguments):
    given = {"preset": "small", "device": "cpu", "threads": 1, "runs": folder / "runs"}
    paper.main(**given | {"out": folder / "out"} | arguments)
    return json.loads((folder / "out" / "table-small.json").read_text())


def table(runs, trainings=(TINY,), seconds=1e9, **changes):
    given = {"data": None, "name": None, "seeds": (0,), "epochs": None, "device": "cpu"}
    pieces = paper_table.Pieces(seconds=seconds)
    own = {"trainings": trainings, "runs": runs, "pieces": pieces}
    return paper_table.Table(**given | own | changes)


def without_seconds(rows):
    kept = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    for row in kept:
        row["to_accuracy"] = {
            name: {k: v for k, v in one.items() if k != "seconds"}
            for name, one in row["to_accuracy"].items()
        }
    return kept


def test_a_table_in_pieces_is_the_table_in_one(tiny, tmp_path):
    tiny(first=())
    whole = table(tmp_path / "one", epochs=2.0)
    assert whole.play((TINY,))
    over, count = False, 0
    while not over:
        part = table(tmp_path / "many", seconds=1e-9, epochs=2.0)
        before, _ = part.counts((TINY,))
        over, count = part.play((TINY,)), count + 1
        assert over or part.pieces.num_epochs == 1
        assert over or part.counts((TINY,))[0] <= before + 1
    # The reference once, and two agents at three shares.
    assert whole.counts((TINY,)) == part.counts((TINY,)) == (7, 7)
    assert count > 7, "episodes were parted"
    one, many = (without_seconds(made.part(TINY).rows) for made in (whole, part))
    assert one == many
    assert [row["agent"] for row in one[:2]] == ["full", "infobatch"]


def test_the_same_command_goes_on_until_all_is_there(tiny, tmp_path, capsys):
    tiny(replace(TINY, scores=()), first=())
    said, counts = "", []
    while "4 of 4 episodes are there\n" not in said:
        pieces = play(tmp_path, minutes=1e-9, seeds=("3-3",), epochs=2.0)["pieces"]
        said = capsys.readouterr().out
        counts.append(len(pieces))
    assert counts == list(range(1, len(counts) + 1))
    assert sum(piece["episodes"] for piece in pieces) == 4
    assert {"device", "precision", "threads", "versions", "cards", "seconds"} <= set(pieces[0])
    again = play(tmp_path, seeds=("3-3",), epochs=2.0)
    assert again["pieces"] == pieces, "nothing was played, and nothing is said of a piece"
    assert {(row["agent"], *row["seeds"]) for row in again["rows"]} == {
        ("full", 3),
        ("infobatch", 3),
    }


def test_a_captured_network_gives_a_table_too(tiny, tmp_path, emulated, capsys):
    folder = pictures(tmp_path / "pictures")
    recipe = {"batch_size": 16, "crop_padding": 1}
    tiny(replace(TINY, task="cifar10", network="cnn", scores=(), recipe=recipe), first=())
    given = {"data": f"folder:{folder}", "name": "colours", "seeds": ("1",), "epochs": 2.0}
    said = ""
    while "4 of 4 episodes are there\n" not in said:
        found = play(tmp_path, minutes=1e-9, **given)
        said = capsys.readouterr().out
    assert emulated.counts["replay"] > 0
    assert {row["task"] for row in found["rows"]} == {"colours"}
    assert len(found["rows"]) == 1 + 3
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert written == {"table-small.json", "table-small.md", "table-small-cnn-colours.png"}
    text = (tmp_path / "out" / "table-small.md").read_text()
    assert "## cnn on colours" in text
    assert "crops of 1 and mirrors" in text
    assert "published" not in text.lower()
    assert str(tmp_path) not in text + json.dumps(found)


def pictures(folder):
    """Two classes of 8 x 8 pictures, red and blue."""
    for part, count in (("train", 40), ("test", 8)):
        for name, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
            target = folder / part / name
            target.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (*colour[:2], colour[2] - number)).save(
                    target / f"{number}.png"
                )
    return folder


def test_the_most_important_episodes_come_first():
    trainings = PRESETS["resnet18"]
    seeds = {one.name: tuple(range(one.num_seeds)) for one in trainings}
    order = [
        (stage.training.name, stage.keep_fraction, agent, stage.seed)
        for stage in stages(trainings, seeds)
        for agent in stage.agents
    ]
    assert len(set(order)) == len(order)
    for one in trainings:
        mine = [episode for episode in order if episode[0] == one.name]
        assert len(mine) == one.num_seeds * (1 + len(KEPT) * (len(agents_of(one)) - 1))
    numbers = [seed for *_, seed in order]
    assert numbers == sorted(numbers)
    first = len(trainings) * (1 + len(KEPT) * len(paper_presets.FIRST))
    assert {agent for _, _, agent, _ in order[:first]} == {"full", *paper_presets.FIRST}
    always = {"short", "random", "stalest+class-balance:1"}
    assert always <= set(paper_presets.FIRST)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_agent_of_a_preset_can_be_made(preset):
    for training in PRESETS[preset]:
        agents = agents_of(training)
        assert len(set(agents)) == len(agents)
        for agent in agents:
            make_agent(agent, keep_fraction=0.5)


def test_the_papers_agents_play_at_both_periods_in_both_modes():
    fields = ("period", "refresh")
    for name in ("epsilon-greedy", "ucb"):
        agents = [a for a in agents_of(TINY) if a.split(":")[0] == name]
        made = [make_agent(agent, keep_fraction=0.5).settings for agent in agents]
        assert sorted(tuple(one[key] for key in fields) for one in made) == [
            *((1, "forward-only"), (1, "train"), (10, "forward-only"), (10, "train"))
        ]
    assert {"static-random", "random", "random:period=10"} <= set(agents_of(TINY))


def test_the_resnet_is_trained_by_the_recipe_of_the_published_figures():
    training = next(one for one in PRESETS["resnet18"] if one.network == "resnet18")
    task = table(None, (training,)).task(training)
    assert task.recipe == Recipe(
        batch_size=128,
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=5e-4,
        label_smoothing=0.1,
        schedule="one-cycle",
        warmup=0.3,
        crop_padding=4,
        flip=True,
    )
    assert (task.model, training.epochs) == ("resnet18", 200)


def part(network="resnet18", task="cifar10", rows=()):
    training = replace(TINY, network=network, task=task)
    made = Task(name=task, load=blobs, model="cnn", recipe=Recipe())
    return report.Part(training=training, task=made, rows=rows)


def rows(*records, training=TINY):
    held = {1.0: [r for r in records if r.reference], 0.5: [r for r in records if not r.reference]}
    return report.rows_of(training, {kept: found for kept, found in held.items()})


def record(agent, seed=0, metrics=(0.2, 0.6, 0.9), scoring=0.0, **fields):
    times = range(len(metrics))
    along = {"train": [2.0 * t for t in times], "selection": [0.5 * t for t in times]}
    along |= {"scoring": [scoring for _ in times], "evaluation": [9.0 * t for t in times]}
    values = make_record(agent, seed, metrics, curve_seconds=along, scoring_work=scoring, **fields)
    return Record.of(values)


def test_work_and_seconds_to_an_accuracy_by_hand():
    assert report.reached(record("ucb"), 0.6) == (2.0, 2.5)
    assert report.reached(record("ucb"), 0.2) == (0.0, 0.0)
    assert report.reached(record("ucb"), 0.91) is None
    # Three full epochs of scores beforehand, in three seconds, beside the budget and out of it.
    assert report.reached(record("el2n", scoring=3.0), 0.6) == (5.0, 5.5)
    charged = record("el2n", scoring=3.0)
    paid = tuple(replace(point, work=point.work + 3) for point in charged.curve)
    assert report.reached(replace(charged, curve=paid), 0.6) == (5.0, 5.5)


def test_who_did_not_reach_an_accuracy_is_counted_and_not_averaged():
    found = rows(
        *(record("full", seed, (0.1, 0.5, 0.9)) for seed in (0, 1)),
        *(record("short", seed, (0.1, 0.3, end)) for seed, end in enumerate((0.4, 0.9, 0.6))),
    )
    (short,) = (row for row in found if row["agent"] == "short")
    # The reference ends at 0.9, and has no third seed yet.
    near, half, one = short["to_accuracy"].values()
    assert (near["asked"], near["reached"], near["work"]) == (2, 1, 4.0)
    assert (half["asked"], half["reached"], half["seconds"]) == (3, 2, 5.0)
    assert (one["asked"], one["reached"], one["work"]) == (3, 0, None)
    assert short["keep_fraction"] == 0.5
    text = unaligned(report.cost_table(part(rows=found)))
    assert "| 4.0, 5.00 (1/2) | 4.0, 5.00 (2/3) | - (0/3) |" in text


def test_published_figures_stand_beside_those_of_the_same_network_and_data_alone():
    bandit = "ucb:refresh=forward-only,period=10"
    found = rows(record("full"), record("short"), record(bandit), record(TINY.scores[0]))
    again = rows(record("random", 0), record("random", 1))
    text = unaligned(report.accuracy_table(part(rows=found))).splitlines()
    assert text[0].count("published") == 3
    lines = {line.split(" | ")[0]: line.split(" | ")[1:] for line in text[2:]}
    assert lines["| full"][:2] == ["80.0", "95.6"]
    assert lines[f"| {bandit}"][1:6:2] == ["95.3", "94.7", "93.9 |"]
    assert lines[f"| {bandit}"][2] == "80.0 (+0.0)"
    assert lines[f"| {TINY.scores[0]}"][1] == "95.3"
    assert "published" not in report.accuracy_table(part(network="cnn", rows=found))
    more = unaligned(report.accuracy_table(part(network="cnn", rows=found + again)))
    assert "| full | 80.0 [1] | | |" in more
    assert "| random | - | 80.0 | - |" in more
    assert "published" not in report.accuracy_table(part(task="cifar10-jpeg", rows=found))
    known = PUBLISHED["resnet18"]["cifar100"]
    assert {a for a in known if a not in ("el2n", "grand")} <= set(agents_of(TINY))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"only": ("resnet18",)}, "`only` must name networks and tasks of the preset, .*mlp"),
        ({"minutes": 0.0}, "`minutes` must be finite and above 0, got 0"),
        ({"name": "mine"}, "`name` must be given for a folder, and for nothing else"),
        ({"data": "folder:x"}, "`name` must be given for a folder"),
        ({"task": "digits"}, "`task` goes with the studies, and with no preset; leave it out"),
        ({"augment": False}, "`augment` goes with the studies, and with no preset"),
        ({"preset": None, "minutes": 3.0}, "`minutes` goes with a preset alone; leave it out"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_trained(arguments, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        play(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_network_that_is_not_there_can_be_left_out(tiny, tmp_path):
    tiny(replace(TINY, network="tower"), replace(TINY, num_seeds=1), first=())
    with pytest.raises(SystemExit, match=r"`model` must be one of .*with `--only` others"):
        play(tmp_path)
    assert not list(tmp_path.iterdir())
    found = play(tmp_path, only=("mlp:8",))
    assert {row["network"] for row in found["rows"]} == {"mlp:8"}


def test_what_was_played_before_stays_in_the_table(tiny, tmp_path):
    tiny(TINY, replace(TINY, network="mlp:4"), first=())
    play(tmp_path, only=("mlp:4",), seeds=("1",))
    found = play(tmp_path, only=("mlp:8",), seeds=("1",))
    assert {row["network"] for row in found["rows"]} == {"mlp:8", "mlp:4"}


def test_trainings_beforehand_wait_for_a_piece_that_has_time_for_them(tiny, tmp_path):
    tiny()
    made = table(tmp_path)
    *_, stage = (one for one in stages((TINY,), {TINY.name: (0,)}) if "el2n" in one.agents[0])
    (scoring,) = TINY.scores
    assert made._beforehand(stage, scoring) == 0, "nothing is known yet of the seconds"
    made.results(TINY, 1.0).add(make_record("full", task="blobs", num_trained=200, num_samples=100))
    # A second of two epochs; two epochs and a third.
    assert made._beforehand(stage, scoring) == pytest.approx(0.5 * 7 / 3)
    assert made._beforehand(stage, "random") == 0
    made.results(TINY, 0.5).add(make_record(scoring, task="blobs"))
    assert made._beforehand(stage, scoring) == 0, "scores are kept on disk"
