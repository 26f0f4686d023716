"""An agent of one's own, registered by the entry point in pyproject.toml."""

from prune_agents.base import LossAgent


class Wrong(LossAgent):
    """What the network got wrong when it last saw it, then the rest at random.

    Source: an example
    """

    def known_scores(self, samples):
        """1 for wrong, 0 for right; ties are broken at random."""
        return 1 - samples["correct"]
