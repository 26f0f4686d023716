"""What the authors of the bundled rules claim, as far as it is noted, and what plays of each.

A figure has a mark where it was not noted from the paper itself: it is no fact then.
"""

from __future__ import annotations

from dataclasses import dataclass

BASES = ("full", "short", "random", "stalest+class-balance:1")
SECONDARY = "(S)"  # seen in other papers only
# Copied between later papers from one source: top-1 of a ResNet-18 after 200 epochs.
QUOTED = "ResNet-18, 200 epochs, as later papers quote it from one source"
NOT_NOTED = "the place in it is not noted"
NO_CLAIM = "no figure of its authors is noted"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published rule and what its authors say of it.

    Attributes:
        rule: its name here.
        source: paper.
        made: what is claimed; empty where nothing of it is noted.
        where: in which place, and with which mark.
        agents: as they play; none where the rule cannot at this scale.
        scenario: under which the claim is tested.
        untested: why it is not, where it is not.
        beside: what else was found; in benchmarks/results/README.md, where no file is named.
    """

    rule: str
    source: str
    made: str = ""
    where: str = NO_CLAIM
    agents: tuple[str, ...] = ()
    scenario: str = "clean"
    untested: str = ""
    beside: str = ""


CLAIMS = (
    Claim(
        rule="ucb",
        source="Raju et al. 2021, arXiv 2111.12621",
        made=(
            "half of the time at no significant loss of accuracy; CIFAR-10 pruned 30/50/70 %: "
            "95.3/94.7/93.9 (S), CIFAR-100 pruned 30/50 %: 77.3/75.3 (S), of 95.6 and 78.2 "
            "with all data (S)"
        ),
        where=f"the first: {NOT_NOTED}; (S): {QUOTED}",
        agents=("ucb", "ucb:refresh=forward-only,period=4"),
        beside="at equal work level with `random` on digits, behind it on pictures",
    ),
    Claim(
        rule="epsilon-greedy",
        source="Raju et al. 2021, arXiv 2111.12621",
        made="CIFAR-10 pruned 30/50/70 %: 95.2/94.9/94.1 (S), CIFAR-100 30/50 %: 76.4/74.8 (S)",
        where=f"(S): {QUOTED}",
        agents=("epsilon-greedy", "epsilon-greedy:refresh=forward-only,period=4"),
        beside=(
            "at equal work 1.2 ± 0.8 ahead of `random` on digits pruned by 70 %, behind it on "
            "pictures"
        ),
    ),
    Claim(
        rule="random",
        source="Raju et al. 2021, arXiv 2111.12621",
        made="CIFAR-10 pruned 30/50/70 %: 94.8/94.5/93.0 (S), a static subset 94.6/93.3/90.2 (S)",
        where=f"(S): {QUOTED}",
        agents=("random",),
        beside="at equal work ahead of every static score on pictures at every level",
    ),
    Claim(
        rule="rs2",
        source="Okanovic et al. 2024, arXiv 2305.18424",
        made=(
            "with 10 % an epoch 4.3 times as fast to 91-92 % on CIFAR-10 (ResNet-18), 9 times on "
            "ImageNet at 66 against 69 %"
        ),
        where=NOT_NOTED,
        agents=("rs2",),
        beside="at equal work 0.4 ± 0.5 over `short` on digits, mean of four conditions",
    ),
    Claim(
        rule="infobatch",
        source="Qin et al. 2024, arXiv 2303.04947",
        made=(
            "some 40 % of the cost saved without loss on CIFAR-10, CIFAR-100 and ImageNet; "
            "CIFAR-10 pruned 30/50/70 %: 95.6/95.1/94.7 (S)"
        ),
        where=f"the first: {NOT_NOTED}; (S): {QUOTED}",
        agents=("infobatch:r=0.5", "infobatch"),
        beside=(
            "at equal work `r=0.5`, which is theirs, is 1.4 ± 0.4 over `short` on digits, mean of "
            "four conditions, and not ahead on pictures"
        ),
    ),
    Claim(
        rule="seta",
        source="Zhou et al. 2025, arXiv 2503.13385",
        made=(
            "41.6 % saved on CIFAR-100 (ResNet-18) at 79.4 against 79.3 with all data; half on "
            "sets of 3 to 15 million; CIFAR-10 pruned 30/50/70 %: 95.7/95.3/95.0 (S)"
        ),
        where=f"the first two: {NOT_NOTED}; (S): {QUOTED}",
        agents=("seta",),
    ),
    Claim(
        rule="orderdp",
        source="Jin et al. 2026, arXiv 2606.08574",
        made="ImageNet-1K, ResNet-50, 40 % pruned: 76.4 in 21.5 h, all data 76.4 in 35.2 h (S)",
        where="(S): seen in other papers",
        agents=("orderdp",),
    ),
    Claim(rule="repb", source="Zhou et al. 2026, openreview Zw1Uw7u6Su", agents=("repb",)),
    Claim(
        rule="kakurenbo",
        source="Nguyen et al. 2023, arXiv 2310.10102",
        made="22 % of the training time saved",
        where=NOT_NOTED,
        agents=("kakurenbo",),
        beside="at equal work level with `short` on pictures",
    ),
    Claim(
        rule="loss-proportional",
        source="Jiang et al. 2019, arXiv 1910.00762, by epoch",
        agents=("loss-proportional",),
        beside="at equal work 1.9 ± 0.6 over `short` on digits, mean of four conditions",
    ),
    Claim(
        rule="rcap",
        source="Hassan et al. 2025, arXiv 2606.11761, its theorem and not its release",
        agents=("rcap",),
        beside="at equal work it reaches the reference on a long tail of digits",
    ),
    Claim(
        rule="pdd",
        source="Shriram et al. 2025, arXiv 2505.22342, difficulty-based",
        agents=("pdd",),
    ),
    Claim(
        rule="ies",
        source="Yuan et al. 2025, arXiv 2502.07547",
        untested="it needs six full epochs before it may leave out a sample, more than all have",
    ),
    Claim(
        rule="small-loss",
        source="Han et al. 2018 (Co-teaching), arXiv 1804.06872, one network for their two",
        agents=("small-loss",),
        scenario="noise:0.3",
    ),
    Claim(
        rule="rho-loss",
        source="Mindermann et al. 2022, arXiv 2206.07137, without holdout data",
        agents=("rho-loss:epochs=2,cost=charged",),
        scenario="noise:0.3",
        beside="charged with its two networks' trainings, cut to two epochs here",
    ),
    Claim(
        rule="el2n",
        source="Paul et al. 2021, arXiv 2107.07075",
        made="CIFAR-10 pruned 30/50/70 %: 95.3/95.1/91.9 (S, EL2N-20)",
        where=f"(S): {QUOTED}",
        agents=("el2n:networks=1,epochs=2,cost=charged",),
        beside="theirs are 10 networks and 20 of 200 epochs; here one network and two, charged",
    ),
    Claim(
        rule="grand",
        source="Paul et al. 2021, arXiv 2107.07075",
        made="CIFAR-10 pruned 30/50/70 %: 95.3/94.6/91.2 (S, GraNd-4)",
        where=f"(S): {QUOTED}",
        agents=("grand:networks=1,epochs=2,cost=charged",),
        beside="as el2n",
    ),
    Claim(
        rule="forgetting",
        source="Toneva et al. 2019, arXiv 1812.05159",
        agents=("forgetting:epochs=2,cost=charged",),
        beside="their scores take a whole training of 200 epochs; here two epochs, charged",
    ),
    Claim(
        rule="aum",
        source="Pleiss et al. 2020, arXiv 2001.10528, as a pruning score",
        agents=("aum:epochs=2,cost=charged",),
        beside="theirs removes wrong labels; here two epochs, charged",
    ),
    Claim(
        rule="ccs",
        source="Zheng et al. 2023, arXiv 2210.15809",
        untested="its scores take 13 full epochs, more than all have",
    ),
    Claim(
        rule="temperature",
        source="Conneau et al. 2020, arXiv 1911.02116",
        agents=("temperature",),
        beside=(
            "the groups are classes here; on a mixture of corpora 0.4 ± 0.4 over `short` at equal "
            "work (any-loss.md)"
        ),
    ),
    Claim(
        rule="odm",
        source="Albalak et al. 2023, arXiv 2312.02406",
        agents=("odm",),
        beside=(
            "the groups are classes here; on a mixture of corpora -0.4 ± 0.8 to `short` at equal "
            "work (any-loss.md)"
        ),
    ),
    Claim(
        rule="doremi",
        source="Xie et al. 2023, arXiv 2305.10429",
        agents=("doremi:cost=charged",),
        beside=(
            "the groups are classes here; on a mixture of corpora 0.5 ± 0.8 over `short` at equal "
            "work with its reference run not charged, ten points behind with it "
            "charged (any-loss.md)"
        ),
    ),
)
AGENTS = tuple(agent for claim in CLAIMS for agent in claim.agents if agent not in BASES)
