"""What the authors of the bundled rules claim, as far as it is noted, and what plays of each."""

from __future__ import annotations

from dataclasses import dataclass

BASES = ("full", "short", "random", "stalest+class-balance:1")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published rule and what its authors say of it.

    Attributes:
        rule: its name here.
        source: paper.
        made: what is claimed.
        where: in which place; whence it is known.
        seen: `paper` if it was noted from the paper or its release; `secondary` if it was seen in
            other papers only; `none` if no claim of theirs is noted.
        agents: as they play; none where it cannot at this scale.
        untested: why it was not, where it was not.
        beside: what else was found, and the file that says so.
    """

    rule: str
    source: str
    made: str
    where: str
    seen: str
    agents: tuple[str, ...] = ()
    untested: str = ""
    beside: str = ""


AGENTS = (
    *("ucb", "epsilon-greedy"),
    *("ucb:refresh=forward-only,period=4", "epsilon-greedy:refresh=forward-only,period=4"),
    *("rs2", "infobatch:r=0.5", "infobatch", "seta", "orderdp", "repb", "ies", "pdd", "rcap"),
    *("kakurenbo", "loss-proportional", "small-loss", "rho-loss:epochs=2,cost=charged"),
    *("el2n:networks=1,epochs=2,cost=charged", "grand:networks=1,epochs=2,cost=charged"),
    *("forgetting:epochs=2,cost=charged", "aum:epochs=2,cost=charged"),
    *("temperature", "odm", "doremi:cost=charged"),
)
