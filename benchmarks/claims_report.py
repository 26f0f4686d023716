"""The ledger of claims as a document: what was claimed, what was played, and a verdict in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from claims_made import BASES, CLAIMS, Claim

from prune_env.experiment.report import markdown

DOCUMENT = Path(__file__).parent.parent / "docs" / "claims.md"
STRONGEST = "stalest+class-balance:1"
HEAD = """\
# A ledger of claims

What the authors of the bundled rules claim, and what the rules are worth here **at equal
seconds**. Made by `python benchmarks/claims.py` of benchmarks/results/claims-*.json and
benchmarks/claims_made.py; do not edit it by hand.

**How to read it.** A rule saves time if it is better than the same time spent on a shorter
schedule of all data, `short`. That is what is tested, by the difference to `short` (and, beside
it, to `stalest+class-balance:1`, a rule that looks at no loss), paired by seed, in points, with
its 95 % interval (Student's t). *Reproduced* is ahead of `short` beyond the interval, *not told
apart* within it, *contradicted here* behind it beyond the interval, and *not tested at this
scale* what cannot act, or cannot pay for what it trains beforehand, in so short a run. Among
forty rows one is expected ahead, and one behind, by chance alone. Here are small networks and
data, and runs of a few epochs; the claims are of 200 epochs and large networks, and no verdict
reaches there. Where no claim is noted the rule is tested all the same: that its choice is worth
its time is what every one of them says.

**Marks.** Figures marked (S) were seen in other papers only, and are no facts here. Where it says
that the place is not noted, the claim was noted from the paper, without page or table. Claims are
as they were noted for this project and may miss what a paper says better elsewhere.

**Equal seconds.** The clock is the environment's own (`clock=wall`): it gives everybody the time
that the budget of `short` in full epochs takes by its measure, and what an agent computes, scores
and trains beforehand is in it. The agents of a seed play in turn, another one first each time,
and the clock is set anew for each episode. Where a result says CPU seconds, the machine was
shared with other work, the seconds of the wall would have been theirs, and the clock read those
that the processor gave to this process, on one thread. The last column has what was spent over
what `short` spent, the median of the seeds and its range: what is not near 1 there was not at
equal seconds. On data as small as these the fixed cost of an epoch is a large part of it, so that
rules of many short epochs do less work: the column of the work, in full epochs, says how much.

**The cnn on digits** is not trained out after so few updates: `short` itself lies between 87 and 96
on its ten seeds of clean digits, and what keeps the hardest samples, or weighs the kept ones up,
often learns next to nothing. That is not the clock's doing. At equal work (three seeds, clean)
`short` has 95.5, `infobatch` 79.8, `ucb:refresh=forward-only,period=4` 16.4 and EL2N's network and
two epochs, reported apart, 50.3; on the task's own mlp the first three are level at equal work
([paper-digits.md](../benchmarks/results/paper-digits.md)).
"""


def page(results: Path) -> str:
    """The document.

    Args:
        results: folder of claims-*.json.
    """
    found = [
        json.loads(file.read_text(encoding="utf-8")) | {"name": file.stem.removeprefix("claims-")}
        for file in sorted(results.glob("claims-*.json"))
    ]
    made_on = "\n".join(_made_on(result) for result in found)
    bases = [_table(result, BASES, None) for result in found]
    blocks = [HEAD, f"## Made on\n\n{made_on}\n", "## The baselines\n"]
    blocks += [f"{title}\n\n{table}\n" for title, table in filter(None, bases)]
    blocks += [
        "## Verdicts\n",
        markdown(list(_verdicts(found)), left=3) + "\n",
        "## Rule by rule\n",
    ]
    return "\n".join([*blocks, *(_section(claim, found) for claim in CLAIMS)])


def _made_on(result: Mapping[str, Any]) -> str:
    network = f", {result['model']}" if result["model"] else ""
    crops = "" if result["augmented"] else ", without crops and mirrors"
    seconds = "CPU seconds" if result["seconds"] == "cpu" else "seconds of the wall"
    return (
        f"- **{result['name']}**: {result['task']}{network}{crops}, {result['num_samples']} "
        f"samples, the time of {result['epochs'] * result['keep_fraction']:.4g} full epochs, "
        f"{result['epochs']:g} for `full`, keep {result['keep_fraction']:g}, "
        f"{len(result['seeds'])} seeds, {seconds}, {result['device']}, {result['threads']} "
        f"thread, torch {result['versions']['torch']}, {result['date']}: `{result['command']}`"
    )


def _verdicts(found: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    yield "rule", "as played", "scenario", *(result["name"] for result in found)
    for claim in CLAIMS:
        for agent in claim.agents or ("-",):
            words = (verdict(claim, agent, result) for result in found)
            yield claim.rule, agent, claim.scenario, *words


def verdict(claim: Claim, agent: str, result: Mapping[str, Any]) -> str:
    """One of the four, in words."""
    row = _row(result, claim.scenario, agent)
    if claim.untested or row is None:
        return "not tested at this scale"
    over = row["over"]["short"]
    if over["low"] > 0:
        return "reproduced"
    return "contradicted here" if over["high"] < 0 else "not told apart"


def _section(claim: Claim, found: list[dict[str, Any]]) -> str:
    lines = [f"### {claim.rule}\n", f"{claim.source}. "]
    said = (
        f"Claimed: {claim.made} ({claim.where})." if claim.made else f"{claim.where}.".capitalize()
    )
    lines[1] += said
    if claim.untested:
        lines[1] += f" **Not tested at this scale**: {claim.untested}."
    if claim.beside:
        lines[1] += f" Beside: {claim.beside}."
    lines[1] += "\n"
    for result in found:
        for agent in claim.agents:
            if why := result["unpaid"].get(agent):
                lines.append(f"`{agent}` could not pay on {result['name']} ({why}).\n")
        title, table = _table(result, claim.agents, claim) or ("", "")
        lines += [f"{title}\n", f"{table}\n"] if table else []
    return "\n".join(lines)


def _table(
    result: Mapping[str, Any], agents: tuple[str, ...], claim: Claim | None
) -> tuple[str, str] | None:
    """Title and rows of some agents; None if they did not play."""
    last = () if claim is None else ("verdict",)
    header = ("agent", "scenario", "accuracy", "over short", f"over {STRONGEST}", "work")
    lines: list[tuple[str, ...]] = [(*header, "seconds over short's", *last)]
    for row in result["rows"]:
        if row["agent"] not in agents:
            continue
        cells = [row["agent"], row["scenario"], f"{100 * row['test_metric']['mean']:.1f}"]
        cells += [_over(row, "short"), _over(row, STRONGEST), f"{row['work']:.2f}", _spent(row)]
        if claim is not None:
            tested = row["scenario"] == claim.scenario
            cells.append(verdict(claim, row["agent"], result) if tested else "-")
        lines.append(tuple(cells))
    return (f"{result['name']}:", markdown(lines, left=2)) if len(lines) > 1 else None


def _row(result: Mapping[str, Any], scenario: str, agent: str) -> Mapping[str, Any] | None:
    rows = (r for r in result["rows"] if (r["scenario"], r["agent"]) == (scenario, agent))
    return next(rows, None)


def _over(row: Mapping[str, Any], base: str) -> str:
    over = row["over"].get(base)
    if over is None:
        return ""
    mean, low, high = (100 * over[name] for name in ("mean", "low", "high"))
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


def _spent(row: Mapping[str, Any]) -> str:
    ratios = sorted(row["seconds_over_short"])
    middle = len(ratios) // 2
    median = (ratios[middle] + ratios[-1 - middle]) / 2
    return f"{median:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
