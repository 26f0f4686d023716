from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blob_task
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.env import DataPruningEnv
from prune_env.experiment.truth import on_test_data
from prune_env.problem import split as split_module
from prune_env.problem.data import Dataset, Samples
from prune_env.problem.split import SplitMaker, stratified

CPU = torch.device("cpu")


def samples(num=6, num_classes=3, shape=(2,)):
    pool = torch.arange(num * int(np.prod(shape)), dtype=torch.float32).reshape(num, *shape)
    return Samples(pool=pool, rows=torch.arange(num), labels=torch.arange(num) % num_classes)


def dataset(num=40, num_classes=4, **arguments):
    return Dataset(
        train=samples(num, num_classes),
        test=samples(8, num_classes),
        num_classes=num_classes,
        **arguments,
    )


def make_split(whole, seed=0, fraction=0.25, **arguments):
    maker = SplitMaker(whole, validation_fraction=fraction, device=CPU, **arguments)
    return maker(np.random.default_rng(seed))


def test_a_subset_keeps_the_order_asked_for_and_shares_the_pool():
    some = samples()
    chosen = some.subset(np.array([4, 1, 1]))
    assert len(chosen) == 3
    assert chosen.rows.tolist() == [4, 1, 1]
    assert chosen.labels.tolist() == [1, 1, 1]
    assert chosen.pool is some.pool


def test_a_subset_takes_indices_of_any_stride():
    assert samples().subset(np.arange(6)[::-2]).rows.tolist() == [5, 3, 1]


def test_with_labels_changes_labels_alone():
    some = samples()
    other = some.with_labels(np.array([2, 2, 2, 1, 1, 1], dtype=np.int32))
    assert other.labels.tolist() == [2, 2, 2, 1, 1, 1]
    assert other.labels.dtype == torch.int64
    assert other.rows is some.rows
    assert some.labels.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_a_pool_of_another_type_is_refused(dtype):
    with pytest.raises(TypeError, match=f"`pool` must be uint8, float32 .* got {dtype}"):
        Samples(
            pool=torch.zeros(2, 1, dtype=dtype), rows=torch.arange(2), labels=torch.zeros(2).long()
        )


@pytest.mark.parametrize(("rows", "labels"), [((3,), (2,)), ((2, 1), (2, 1))])
def test_rows_and_labels_that_do_not_match_are_refused(rows, labels):
    with pytest.raises(ValueError, match=r"`rows` and `labels` must be vectors of one length"):
        Samples(
            pool=torch.zeros(3, 1),
            rows=torch.zeros(rows, dtype=torch.int64),
            labels=torch.zeros(labels, dtype=torch.int64),
        )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_classes": 1}, r"`num_classes` must be at least 2, got 1"),
        ({"train": samples(0)}, r"`train` must hold samples, got none"),
        ({"test": samples(0)}, r"`test` must hold samples, got none"),
        ({"validation": samples(0)}, r"`validation` must hold samples, got none"),
        (
            {"test": samples(3, shape=(5,))},
            r"`test` inputs must have the shape .* \(2,\), got \(5,\)",
        ),
        (
            {"validation": samples(3, shape=(2, 1))},
            r"`validation` inputs must .* \(2,\), got \(2, 1\)",
        ),
        ({"num_classes": 2}, r"`train` labels must be in \[0, 2\), got 0 to 2"),
        (
            {"test": samples(2).with_labels(np.array([0, 3]))},
            r"`test` labels must be in \[0, 3\), got 0 to 3",
        ),
        (
            {"train": samples(2).with_labels(np.array([-1, 1]))},
            r"`train` labels must be in \[0, 3\), got -1 to 1",
        ),
    ],
)
def test_a_dataset_that_does_not_fit_together_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        Dataset(**{"train": samples(), "test": samples(), "num_classes": 3} | changed)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        (np.uint8, torch.uint8),
        (np.float32, torch.float32),
        (np.float64, torch.float32),
        (np.int64, torch.float32),
    ],
)
def test_from_arrays_keeps_bytes_and_floats_and_converts_the_rest(dtype, stored):
    inputs = np.arange(6).reshape(3, 2).astype(dtype)
    whole = Dataset.from_arrays(inputs, np.array([0, 2, 1]), inputs[:1], np.array([1]))
    assert whole.train.pool.dtype == stored
    assert whole.train.pool[whole.train.rows].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert whole.train.labels.tolist() == [0, 2, 1]
    assert (whole.num_classes, whole.input_shape, whole.validation) == (3, (2,), None)


def test_from_arrays_counts_classes_in_test_labels_too():
    inputs = torch.zeros(2, 1)
    whole = Dataset.from_arrays(inputs, torch.tensor([0, 1]), inputs, torch.tensor([4, 0]))
    assert whole.num_classes == 5


def test_from_arrays_takes_a_number_of_classes_above_the_labels():
    inputs, labels = np.zeros((2, 1)), np.array([0, 1])
    assert Dataset.from_arrays(inputs, labels, inputs, labels, num_classes=7).num_classes == 7


def test_from_arrays_refuses_a_label_count_that_differs():
    inputs = np.zeros((3, 1))
    with pytest.raises(ValueError, match=r"each of the 3 .* got shape \(2,\); give as many"):
        Dataset.from_arrays(inputs, np.array([0, 1]), inputs, np.array([0, 1, 0]))


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (0.5, [True, True, True, False, False, False]),  # two of four, one of two
        (0.01, [True, False, True, False, False, False]),
        (0.99, [True, True, True, True, False, False]),
    ],
)
def test_stratified_marks_the_first_of_each_class_by_hand(fraction, expected):
    assert stratified(np.array([0, 0, 1, 0, 0, 1]), fraction).tolist() == expected


def test_stratified_marks_the_only_sample_of_a_class():
    assert stratified(np.array([0, 1, 1]), 0.3).tolist() == [True, True, False]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.floats(0.01, 0.99),
)
def test_stratified_marks_a_rounded_share_of_each_class_and_leaves_one(labels, fraction):
    labels = np.array(labels)
    mask = stratified(labels, fraction)
    for label in np.unique(labels):
        marked = mask[labels == label]
        assert 1 <= marked.sum() <= max(1, len(marked) - 1)
        if len(marked) > 1:
            rounded = round(fraction * len(marked))
            assert marked.sum() == min(max(rounded, 1), len(marked) - 1)
        assert marked.tolist() == sorted(marked, reverse=True)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_a_validation_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ValueError, match=rf"`validation_fraction` .* \(0, 1\), got {fraction}"):
        SplitMaker(dataset(), validation_fraction=fraction, device=CPU)


def test_a_split_divides_the_training_samples_class_by_class():
    whole = dataset(num=40, num_classes=4)
    split = make_split(whole, fraction=0.3)
    train, validation = split.train.rows.tolist(), split.validation.rows.tolist()
    assert sorted(train + validation) == list(range(40))
    assert torch.bincount(split.validation.labels).tolist() == [3, 3, 3, 3]
    assert torch.bincount(split.train.labels).tolist() == [7, 7, 7, 7]
    assert torch.equal(split.train.labels, split.train.rows % 4)
    assert split.test.rows.tolist() == list(range(8))
    assert (split.num_classes, split.input_shape) == (4, (2,))


def test_a_seed_gives_one_split_and_another_seed_another():
    whole = dataset()
    first, again, other = (make_split(whole, seed) for seed in (0, 0, 1))
    assert torch.equal(first.train.rows, again.train.rows)
    assert torch.equal(first.validation.rows, again.validation.rows)
    assert not torch.equal(first.train.rows, other.train.rows)
    assert set(first.validation.rows.tolist()) != set(other.validation.rows.tolist())


def test_training_samples_are_shuffled_out_of_class_order():
    inputs, labels = np.arange(60.0)[:, None], np.repeat([0, 1, 2], 20)
    split = make_split(Dataset.from_arrays(inputs, labels, inputs, labels))
    assert not torch.equal(split.train.labels, split.train.labels.sort().values)


def test_validation_samples_of_the_dataset_are_used_and_train_is_kept_whole():
    own = samples(5, 4)
    split = make_split(dataset(num=40, num_classes=4, validation=own))
    assert split.validation.rows.tolist() == own.rows.tolist()
    assert sorted(split.train.rows.tolist()) == list(range(40))


def test_normalisation_of_pictures_is_by_channel():
    pictures = np.zeros((2, 2, 1, 2), dtype=np.uint8)
    pictures[:, 0] = [[[1, 3]], [[5, 7]]]  # mean 4, variance (9 + 1 + 1 + 9) / 4
    pictures[:, 1] = 200  # constant
    split = make_split(
        Dataset.from_arrays(pictures, np.zeros(2, np.int64), pictures, np.zeros(2, np.int64))
    )
    assert split.mean.tolist() == [[[4, 4]], [[200, 200]]]
    torch.testing.assert_close(split.deviation[:, 0, 0], torch.tensor([5**0.5, 1.0]))
    assert split.deviation.shape == (2, 1, 2)
    assert split.fill.tolist() == [0, 0]


@pytest.mark.parametrize(("dtype", "expected"), [(np.uint8, [4, 200]), (np.float32, [4.5, 200])])
def test_the_colour_of_the_mean_picture_is_in_the_units_of_the_pool(dtype, expected):
    pictures = np.zeros((2, 2, 1, 2), dtype=dtype)
    pictures[:, 0] = [[[1, 4]], [[5, 8]]]  # mean 4.5; halves are rounded to even
    pictures[:, 1] = 200
    whole = Dataset.from_arrays(pictures, np.zeros(2, np.int64), pictures, np.zeros(2, np.int64))
    split = make_split(whole, as_pictures=True)
    assert split.fill.tolist() == expected


def test_normalisation_of_vectors_is_by_feature_and_leaves_constants_at_zero():
    inputs = np.array([[1.0, 7.0], [3.0, 7.0]])
    split = make_split(
        Dataset.from_arrays(inputs, np.zeros(2, np.int64), inputs, np.zeros(2, np.int64))
    )
    assert split.mean.tolist() == [2, 7]
    assert split.deviation.tolist() == [1, 1]


@pytest.mark.parametrize("as_pictures", [False, True])
@pytest.mark.parametrize("small_pool", [0, 10**9])
def test_inputs_are_normalised_whether_the_pool_is_or_not(monkeypatch, small_pool, as_pictures):
    monkeypatch.setattr(split_module, "_SMALL_POOL", small_pool)
    pictures = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 4), dtype=np.uint8)
    labels = np.arange(20) % 2
    own = Dataset.from_arrays(pictures, labels, pictures[:6], labels[:6])
    split = make_split(own, as_pictures=as_pictures)
    assert split.normalised == (small_pool > 0 and not as_pictures)
    mean = pictures.mean(axis=(0, 2, 3), keepdims=True)
    normal = (pictures - mean) / pictures.std(axis=(0, 2, 3), keepdims=True)
    for some, expected in (
        (split.train, normal[split.train.rows]),
        (split.validation, normal[split.validation.rows]),
        (split.test, normal[:6]),
    ):
        inputs = split.inputs(some, some.rows)
        assert inputs.dtype == torch.float32
        assert inputs.numpy() == pytest.approx(expected, abs=1e-5)
        if as_pictures:
            assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(own.train.pool, torch.from_numpy(pictures))


def test_bad_arrays_are_named_before_anything_is_made_of_them():
    inputs, labels = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])
    with pytest.raises(TypeError, match=r"labels must be integers, got torch\.float64"):
        Dataset.from_arrays(inputs, labels + 0.5, inputs, labels)
    with pytest.raises(ValueError, match="`train` must hold samples, got none"):
        Dataset.from_arrays(inputs[:0], labels[:0], inputs, labels)
    with pytest.raises(ValueError, match="`test` inputs must be finite"):
        Dataset.from_arrays(inputs, labels, inputs * np.nan, labels)


def test_read_only_and_reversed_arrays_are_taken():
    inputs, labels = np.arange(8, dtype=np.float32).reshape(4, 2), np.array([0, 1, 0, 1])
    inputs.flags.writeable = False
    data = Dataset.from_arrays(inputs[::-1], labels, inputs, labels)
    assert data.train.pool[0].tolist() == [6, 7]


@pytest.mark.parametrize("part", ["test", "validation"])
def test_parts_on_two_scales_are_refused(part):
    bytes_, labels = np.full((4, 2), 200, np.uint8), np.arange(4) % 2
    whole = Dataset.from_arrays(bytes_, labels, bytes_, labels)
    other = Dataset.from_arrays(bytes_ / 255, labels, bytes_ / 255, labels).test
    message = rf"`{part}` inputs must have the type .* torch.uint8, got torch.float32; give all"
    with pytest.raises(TypeError, match=message):
        replace(whole, **{part: other})
    with pytest.raises(TypeError, match="`test` inputs must have the type"):
        Dataset.from_arrays(bytes_, labels, bytes_ / 255, labels)


def arrays(inputs, labels, **arguments):
    inputs, labels = np.asarray(inputs), np.asarray(labels)
    return Dataset.from_arrays(inputs, labels, inputs, labels, **arguments)


ONES = np.ones((4, 2), np.float32)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (
            np.ones(4),
            [0, 1, 0, 1],
            r"`train` inputs must have .* got shape \(4,\); .*\[:, None\]",
        ),
        (np.ones((4, 0)), [0, 1, 0, 1], r"`train` inputs must have .* got shape \(4, 0\)"),
        (np.ones((4, 3, 0, 2)), [0, 1, 0, 1], r"each of at least 1, got shape \(4, 3, 0, 2\)"),
        (ONES, [0, 10**12, 0, 0], r"labels must be numbered from 0, got 1000000000000 .* of 8"),
        (ONES, [0, 100, 0, 0], "labels must be numbered from 0, got 100 as the largest of 8"),
        (ONES, np.zeros((4, 2), int), r"`train_targets` must be a vector of .* argmax\(1\)"),
        (ONES, np.zeros((4, 1), int), r"in `train_inputs`, got shape \(4, 1\); .* reshape\(-1\)"),
        (ONES, 3, r"`train_targets` must be a vector of one label for each of the 4 .* got shape"),
    ],
)
def test_arrays_that_nothing_can_be_trained_on_are_refused_by_name(inputs, labels, message):
    with pytest.raises(ValueError, match=message):
        arrays(inputs, labels)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (ONES + 1j, [0, 1, 0, 1], "`train` inputs must be real numbers, got torch.complex"),
        ([["a"]] * 4, [0, 1, 0, 1], "`train inputs` must be numbers, got an array of <U1"),
        (ONES, ["cat", "dog"] * 2, "`train targets` must be numbers, got an array of <U3"),
        (ONES, [0.0, 1.0] * 2, "labels must be integers, got torch.float64 of `train`"),
    ],
)
def test_arrays_of_no_numbers_are_refused_by_name(inputs, labels, message):
    with pytest.raises(TypeError, match=message):
        arrays(inputs, labels)


def test_a_number_of_classes_beyond_any_network_is_refused():
    with pytest.raises(ValueError, match="`num_classes` must be at most 1048576, got 10000"):
        arrays(ONES, [0, 1, 0, 1], num_classes=10**12)
    assert arrays(ONES, [0, 999, 0, 1], num_classes=1000).num_classes == 1000


@pytest.mark.parametrize("labels", [[0], [0, 1]])
def test_one_sample_of_each_class_is_refused_before_anything_is_trained(labels):
    dataset = arrays(np.ones((len(labels), 3)), labels)
    message = f"`train` must hold 2 samples or more of some class, .* got {len(labels)} of as many"
    with pytest.raises(ValueError, match=message):
        make_split(dataset)
    task = blob_task(dataset=dataset)
    with pytest.raises(ValueError, match=message):
        DataPruningEnv(task)


@pytest.mark.parametrize("given", [False, True])
def test_the_smallest_datasets_are_trained_on(given):
    dataset = arrays(np.ones((2, 3)), [1, 1])
    if given:
        dataset = replace(dataset, validation=dataset.test)
    env = DataPruningEnv(blob_task(dataset=dataset), budget=2)
    env.reset(seed=0)
    while not env.over:
        env.step(env.action_space.sample())
    assert 0 <= on_test_data(env).metric <= 1
