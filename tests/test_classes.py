"""What is known of the classes: shares, and how many labels are wrong."""

import numpy as np
import pytest

from prune_env.decision.classes import SHARES, ClassKnowledge

C = 10


def validation(accuracies, count=50):
    """A validation of `count` samples a class, whose mistakes are spread over the other classes."""
    right = np.round(count * accuracies).astype(int)
    mistakes = count - right
    predicted = right + (mistakes.sum() - mistakes) / (C - 1)
    return np.stack([np.full(C, count), right, predicted], axis=1)


def met(rng, accuracies, share, sizes):
    """Labels and correctness of samples met first, a share of their labels wrong."""
    true = np.repeat(np.arange(C), sizes)
    wrong = rng.random(len(true)) < share
    labels = np.where(wrong, (true + rng.integers(1, C, size=len(true))) % C, true)
    # Predicted is the true class, or any other.
    hit = rng.random(len(true)) < accuracies[true]
    predicted = np.where(hit, true, (true + rng.integers(1, C, size=len(true))) % C)
    return labels, predicted == labels


def estimate(seed, share, *, accuracy=0.8, sizes=100):
    rng = np.random.default_rng(seed)
    accuracies = np.clip(rng.normal(accuracy, 0.1, size=C), 0.05, 0.98)
    labels, correct = met(rng, accuracies, share, sizes)
    classes = ClassKnowledge(validation(accuracies))
    times_seen = np.ones(len(labels), int)
    ages = np.arange(len(labels)) % 2  # half of them met in the last epoch
    classes.take(
        validation(accuracies),
        labels=labels,
        times_seen=times_seen,
        epochs_since_seen=ages,
        correct=correct,
    )
    return classes


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.4])
def test_the_share_of_wrong_labels_is_found(share):
    found = [estimate(seed, share) for seed in range(10)]
    assert np.mean([one.wrong_share() for one in found]) == pytest.approx(share, abs=0.04)
    assert min(one.evidence for one in found) > 0.5


@pytest.mark.parametrize("sizes", [100, np.geomspace(300, 10, C).astype(int)])
@pytest.mark.parametrize("accuracy", [0.3, 0.8, 0.95])
def test_right_labels_are_not_suspected(accuracy, sizes):
    found = [estimate(seed, 0, accuracy=accuracy, sizes=sizes) for seed in range(20)]
    assert np.mean([one.wrong_share() for one in found]) < 0.03
    assert sum(one.wrong_share() > 0 for one in found) <= 4
    assert all(one.wrong_share(evidence=np.inf) == 0 for one in found)


def test_a_long_tail_is_told_from_wrong_labels():
    sizes = np.geomspace(300, 10, C).astype(int)
    shares = [estimate(seed, 0.3, sizes=sizes).wrong_share() for seed in range(10)]
    assert np.mean(shares) == pytest.approx(0.3, abs=0.05)


def test_evidence_adds_up_and_first_epochs_have_none():
    rng = np.random.default_rng(0)
    accuracies = np.full(C, 0.8)
    labels, correct = met(rng, accuracies, 0.3, 30)
    seen = {"labels": labels, "correct": correct, "times_seen": np.ones(len(labels), int)}
    classes = ClassKnowledge(validation(accuracies))
    classes.take(validation(accuracies), epochs_since_seen=np.zeros(len(labels)), **seen)
    assert classes.evidence == 0  # all was met just now: the first epoch
    ages = np.arange(len(labels)) % 2
    classes.take(validation(accuracies), epochs_since_seen=ages, **seen)
    once = classes.log_likelihood
    classes.take(validation(accuracies), epochs_since_seen=ages, **seen)
    np.testing.assert_allclose(classes.log_likelihood, 2 * once)
    again = seen | {"times_seen": np.full(len(labels), 2)}
    classes.take(validation(accuracies), epochs_since_seen=ages, **again)
    np.testing.assert_allclose(classes.log_likelihood, 2 * once)  # nothing was met first


@pytest.mark.parametrize("num_classes", [2, 3, 500])
def test_any_number_of_classes_is_finite(num_classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(num_classes, size=400)
    counts = np.stack([rng.integers(4, size=num_classes)] * 3, axis=1)
    classes = ClassKnowledge(np.ones((num_classes, 3)))
    classes.take(
        counts,
        labels=labels,
        times_seen=np.ones(400),
        epochs_since_seen=np.arange(400) % 2,
        correct=rng.random(400) < 0.5,
    )
    assert np.isfinite(classes.log_likelihood).all()
    assert classes.likeliest in SHARES


def test_without_a_validation_the_classes_are_as_in_training():
    classes, sizes = ClassKnowledge.empty(3), np.array([1, 2, 5])
    np.testing.assert_allclose(classes.validation_shares(sizes), sizes / 8)
    classes.counts[:, 0] = [4, 0, 4]
    assert classes.validation_shares(sizes).tolist() == [0.5, 0, 0.5]
