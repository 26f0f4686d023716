"""What a policy that scores sample by sample is shown of each."""

from __future__ import annotations

from prune_env import RUN_COLUMNS

# Per sample: standardised over the samples seen (0 for the others), then where the run stands.
STANDARDISED = ("loss_mean", "loss_deviation", "correct_mean", "times_forgotten")
_SAMPLE_FEATURES = (*STANDARDISED, "class_loss", "epochs_since_seen", "never_seen", "class_rarity")
SCORER_COLUMNS = (*_SAMPLE_FEATURES, *(name for name, _ in RUN_COLUMNS))
