"""What every column that an environment shows, and every entry of an action, means.

Names, order and ranges are the code's; a column without a sentence here is an error, and so is a
sentence without a column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import prune_env

Range = tuple[str, float, float]  # name, least and largest value

SAMPLE = {
    "loss": "the loss last recorded",
    "loss_mean": "running mean of its losses (`loss_decay`)",
    "loss_variance": "running variance of its losses",
    "correct": "1 if it was predicted right when last recorded; of what can be right in part, if "
    "more than half of it was",
    "correct_mean": "running mean of how much of it was right",
    "times_forgotten": "how often it went from right to wrong",
    "times_seen": "how often a loss was recorded; 0 says that the columns before are not known yet",
    "epochs_since_seen": "epochs since the last recorded loss; all epochs if there is none",
    "label": "its class as trained on, from 0; 0 where there are no classes",
    "neighbours": "share of its nearest training inputs that have its label; only with the argument"
    " `neighbours`",
}
CLASS = {
    "validation_samples": "validation samples of the class",
    "validation_correct": "those of them predicted right in the last validation",
    "validation_predicted": "all validation samples predicted to be of the class",
}
RUN = {
    "progress": "share of the budget spent",
    "validation_metric": "accuracy on validation data after the last epoch, or the task's metric",
    "validation_loss": "mean validation loss after the last epoch, over that of guessing",
    "train_loss": "mean loss of what the last epoch trained on, over that of guessing; at reset the"
    " validation's",
    "train_metric": "how much of it was right; at reset the validation's",
    "keep_fraction": "share of the N samples that the last epoch trained on; 0 at reset",
    "learning_rate": "share of the recipe's peak",
    "budget": "of the episode, in full epochs",
    "log_work": "log(1 + full epochs spent, scoring included)",
    "log_updates": "log(1 + updates of the optimiser)",
    "wrong_share": "estimated share of wrong labels; 0 where too little speaks for it",
    "wrong_evidence": "what speaks for it: e / (e + 1) of e nats, a half where it is just enough",
    "label_shift": "half the sum of differences between the shares of the classes in training and "
    "in validation",
    "validation_entropy": "entropy of the classes in validation, over that of equal shares",
}
STATISTIC = {
    "loss_mean_q10": "tenth percentile of the running mean losses, over the loss of guessing",
    "loss_mean_q25": "lower quartile of the same",
    "loss_mean_q50": "median of the same",
    "loss_mean_q75": "upper quartile of the same",
    "loss_mean_q90": "ninetieth percentile of the same",
    "loss_mean_mean": "mean of the same",
    "loss_mean_deviation": "standard deviation of the same",
    "loss_deviation_mean": "mean of the roots of the running variances, over the loss of guessing",
    "class_loss_deviation": "standard deviation of the classes' mean losses, over the loss of "
    "guessing",
    "correct_mean": "mean of the running means of how much was right",
    "share_forgotten": "share that was forgotten at least once",
    "share_seen": "share of the N samples with a recorded loss",
    "staleness": "mean of the epochs since a loss was recorded, over all epochs so far",
    "class_entropy": "entropy of the classes in training, over that of equal shares",
}
GROUP = {
    "loss": "mean running loss of its samples seen, over that of guessing",
    "loss_fall": "how far that fell in the last epoch",
    "met_loss": "mean loss of those that the last epoch trained on",
    "met_share": "its share in what the last epoch trained on",
    "trained_share": "its share in all that was trained on so far",
    "size": "its share in the N samples",
    "seen": "share of its samples with a recorded loss",
    "correct": "mean of the running means of how much of its samples seen was right",
}
ENTRIES = {
    "random": "share taken at random",
    "highest": "share of the highest running mean losses",
    "lowest": "share of the lowest",
    "middle": "share of those nearest to the median",
    "stalest": "share of those whose last recorded loss is oldest",
}
FEATURES = {
    "loss_mean": "running mean loss",
    "class_loss": "the same, standardised within the class",
    "class_loss_excess": "the positive part of that",
    "loss_deviation": "root of the running variance",
    "correct_mean": "running mean of how much was right",
    "epochs_since_seen": "epochs since a loss was recorded, standardised within the class",
    "class_rarity": "log of how many times smaller than the average class its class is",
}
COMPOSE = {
    "class_target": "shares of the classes: 0 those of the validation, -1 those of the training, 1 "
    "equal ones",
    "cut": "how many samples are cut as wrongly labelled: -1 none, 0 1.5 times the estimate, 1 "
    "half of all; of a class at most half",
    "stalest": "of what is left, share of those trained on longest ago",
    "random": "share taken at random",
    "highest": "share of the highest running mean losses",
}
INFO = {
    "instance": "names of the `task` and the `scenario`",
    "num_samples": "N",
    "epoch": "steps taken",
    "budget": "of the episode, in full epochs",
    "work": "full epochs spent so far, scoring included",
    "progress": "share of the budget spent",
    "validation_metric": "after the last epoch",
    "validation_loss": "after the last epoch",
    "validation_classes": "of each class its validation samples, those predicted right, and all "
    "predicted to be of it",
    "num_selected": "samples that the action selected, before the last epoch's cut",
    "num_added": "of these, random ones that filled it up to the minimum",
    "num_trained": "samples trained on",
    "num_unseen": "of these, without a loss recorded before",
    "num_scored": "samples scored by a forward pass",
    "num_updates": "of the optimiser",
    "keep_fraction": "trained / N",
    "train_loss": "mean over what was trained on; at reset the validation's",
    "train_metric": "likewise",
    "metric_gain": "of the validation metric",
    "metric_gain_per_time": "that over `step_time`",
    "step_time": "full epochs, on the clock",
    "reward_parts": "parts of the reward by name, `divergence` among them",
    "diverged": "whether a loss was not finite",
    "seconds": "since reset, by part; on the wall clock alone",
}


def ranges(names: Iterable[tuple[str, float]]) -> list[Range]:
    """Columns from 0 to a largest value."""
    return [(name, 0.0, high) for name, high in names]


SAMPLE_RANGES = ranges((column.name, column.high) for column in prune_env.SAMPLE_COLUMNS)
RUN_RANGES = ranges(prune_env.RUN_COLUMNS)
SUMMARY_RANGES = ranges(prune_env.SUMMARY_COLUMNS)
GROUP_RANGES = list(prune_env.GROUP_COLUMNS)


def number(value: float) -> str:
    """A bound as people write it."""
    return f"{value:g}".replace("e+", "e")


def table(columns: list[Range], meanings: Mapping[str, str]) -> str:
    """A Markdown table of columns: index, name, range, meaning.

    Raises:
        ValueError: if a column has no meaning, or a meaning no column.
    """
    names = {name for name, _, _ in columns}
    if names != meanings.keys():
        raise ValueError(
            f"every column must have its sentence in docs/site/columns.py, got columns without one "
            f"{sorted(names - meanings.keys())}, and without a column "
            f"{sorted(meanings.keys() - names)}"
        )
    rows = [
        f"| {index} | `{name}` | [{number(low)},\u00a0{number(high)}] | {meanings[name]} |"
        for index, (name, low, high) in enumerate(columns)
    ]
    return "\n".join(["| index | name | range | meaning |", "|---|---|---|---|", *rows])
