"""The benchmark measures what it says: turns are interleaved, and every part of it runs."""

import json

import measure
import numpy as np
import pytest
import speed
import speed_training
import torch
from conftest import blob_task

CPU = torch.device("cpu")


def test_candidates_take_turns_and_the_first_turn_is_not_counted():
    order = []
    candidates = {name: lambda name=name: order.append(name) for name in "ab"}
    times = measure.interleaved(candidates, 3, CPU)
    assert order == ["a", "b"] * 4
    assert [len(values) for values in times.values()] == [3, 3]


def test_a_row_reports_median_and_range_of_its_ratios():
    values = measure.ratios([8.0, 6.0, 9.0], [2.0, 3.0, 3.0])
    record = measure.Row(name="x", goal=">= 2", unit="ratio", values=values, details={}).record()
    assert (record["median"], record["low"], record["high"], record["repeats"]) == (3, 2, 4, 3)
    assert json.loads(json.dumps(record)) == record


def test_ours_the_limit_and_the_users_loop_all_train():
    task = blob_task(shape=(3, 8, 8), model="cnn")
    run = speed_training.start(task, CPU)
    candidates = speed_training.training_candidates(task, 2, CPU)
    loops = {f"{kind}, {workers} workers" for kind in ("alike", "usual") for workers in (0, 2)}
    assert set(candidates) == {"ours", "limit"} | loops
    candidates["ours"]()
    candidates["limit"]()
    loader = speed_training.users_loader(run, 16, 0, is_picture=False)
    inputs, labels = next(iter(loader))
    assert (inputs.shape, labels.shape) == ((16, 3, 8, 8), (16,))


def test_the_users_pictures_are_ours_cropped_mirrored_and_normalised():
    task = speed_training.pictures_task()
    run = speed_training.start(task, CPU)
    inputs, labels = next(iter(speed_training.users_loader(run, 8, 0, is_picture=True)))
    assert inputs.shape == (8, 3, 32, 32)
    assert inputs.dtype == torch.float32
    assert abs(float(inputs.mean())) < 0.5
    assert len(labels) == 8


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_loop_trains_in_the_precision_and_layout_it_says(tuned, precision):
    task = blob_task(shape=(3, 8, 8), model="cnn")
    run = speed_training.start(task, CPU)
    network, update = speed_training.Loop(
        task=task, run=run, precision=precision, tuned=tuned
    ).make()
    outputs = []
    network[0].register_forward_hook(lambda layer, inputs, output: outputs.append(output))
    before = network[0].weight.detach().clone()
    update(run.split.inputs(run.split.train, torch.arange(16)), run.split.train.labels[:16])
    assert str(outputs[0].dtype) == f"torch.{precision}"
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last) == tuned
    assert not torch.equal(network[0].weight, before)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_whole_benchmark_writes_its_file(tmp_path):
    speed.main(out=tmp_path)
    result = json.loads((tmp_path / "speed-cpu.json").read_text())
    assert {"device", "threads", "versions", "seed", "rows"} <= set(result)
    assert all(np.isfinite(row["median"]) and row["repeats"] >= 3 for row in result["rows"])
