"""The tables of all scenarios-*.json of a folder: `python benchmarks/scenarios_report.py`.

Writes scenarios.md there; with `--docs docs/learned.md` the essence of its summary into that
document too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import documents
import tyro

from prune_env.experiment.report import comparison_table, markdown, points

RESULTS = Path(__file__).parent / "results"
BASES = ("random", "stalest+class-balance:1", "distrust")
CONSTANT = "distrust:added_cut=0.375"  # the bundled policy without its feedback
Record = Mapping[str, Any]


def read(out: Path) -> dict[str, Record]:
    """Every result in `out`, by name."""
    return {
        file.stem.removeprefix("scenarios-"): json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(out.glob("scenarios-*.json"))
    }


def write(out: Path) -> None:
    """Write scenarios.md, of every result in `out`."""
    records = read(out)
    blocks = ["# Policies and rules by condition", summary(records)]
    blocks += [section(name, record) for name, record in records.items()]
    (out / "scenarios.md").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def summary(records: Mapping[str, Record]) -> str:
    """A row a result, instance and policy: test accuracy in points over what a rule reaches."""
    over = [f"over `{name}`" for name in BASES]
    header = ["result", "on", "policy", "best single rule", "over it", *over]
    header += ["over the best of each condition", f"over `{CONSTANT}`"]
    rows = []
    for name, record in records.items():
        for instance, policy, table in _comparisons(record):
            against = table["against"]
            differences = [
                points(against[rival]) if rival in against else ""
                for rival in ("best single", *BASES, "best by condition", CONSTANT)
            ]
            rows.append([name, instance, policy, f"`{table['best_single']}`", *differences])
    return markdown([header, *rows], left=4)


def essence(records: Mapping[str, Record]) -> str:
    """A row a result, over all its instances: what the policy is over the strongest rules."""
    rivals = ("distrust", "stalest+class-balance:1", CONSTANT)
    rows = [["result", *(f"over `{name}`" for name in rivals)]]
    for name, record in records.items():
        *_, (_, _, table) = _comparisons(record)
        found = [table["against"].get(rival) for rival in rivals]
        rows.append([name, *(points(one) if one else "" for one in found)])
    return markdown(rows, left=1)


def section(name: str, record: Record) -> str:
    """One result: gains over `random` by condition, then every agent."""
    blocks = [f"## {name}", _evidence_line(record), _by_condition(record)]
    for instance, policy, table in _comparisons(record):
        if instance != "all":
            blocks += [f"### {policy} on {instance}", comparison_table(table)]
    return "\n\n".join(blocks)


def _by_condition(record: Record) -> str:
    """Test accuracy in points over `random`, for each policy and the best single rule."""
    conditions = record["scenarios"]
    rows = []
    for instance, policy, table in _comparisons(record):
        if instance == "all":
            continue
        means = table["means"]
        for agent in (policy, table["best_single"]):
            gains = [100 * (means[agent][c] - means["random"][c]) for c in (*conditions, "mean")]
            rows.append([instance, f"`{agent}`", *(f"{gain:+.1f}" for gain in gains)])
    unique = [list(row) for row in dict.fromkeys(map(tuple, rows))]
    return "Over `random`:\n\n" + markdown([["on", "agent", *conditions, "mean"], *unique], left=2)


def _comparisons(record: Record) -> Iterator[tuple[str, str, Record]]:
    """Instance, policy, and the comparison with the agents beside it; all together last."""
    for instance in (*record["cases"], "all"):
        for policy, instances in record["comparisons"].items():
            if instance in instances:
                table = instances[instance]
                beside = record["beside"].get(policy, {}).get(instance)
                yield instance, policy, _with(table, beside) if beside else table


def _with(table: Record, beside: Record) -> Record:
    """The comparison, with means of and differences to more agents."""
    merged = {name: beside[name] | table[name] for name in ("means", "against")}
    return {**table, **merged}


def _evidence_line(record: Record) -> str:
    return (
        f"{record['num_seeds']} seeds, 95 % bootstrap intervals over seeds. {record['device']}, "
        f"{record['threads']} thread(s), torch {record['versions']['torch']}."
    )


def main(*, out: Path = RESULTS, docs: Path | None = None) -> None:
    """Write scenarios.md anew and print its summary.

    Args:
        out: folder of the results.
        docs: document to put the summary into.
    """
    write(out)
    table = summary(read(out))
    print(table)
    if docs is not None:
        documents.fill(docs, "summary", essence(read(out)))


if __name__ == "__main__":
    tyro.cli(main)
