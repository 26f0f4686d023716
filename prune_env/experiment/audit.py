"""The commands about results of strangers: prune-env replay, validate, submit."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from prune_env.experiment.user_error import UserError

if TYPE_CHECKING:
    from prune_env.experiment.holding import Entry, Holding
    from prune_env.experiment.replay import Replay, Tolerances, Verdict

# torch and the environment are imported where they are needed: --help answers at once.


@dataclass(frozen=True, kw_only=True)
class ReplayEpisode:
    """Play an episode again from its record, and say whether it reproduces (exit code 0 or 1).

    On the same kind of machine it must be the same bit for bit, elsewhere within the tolerances.
    """

    path: tyro.conf.Positional[Path]
    """a results folder, a submission, or a file with one record"""
    episode: int | None = None
    """which, by its line in episodes.jsonl (or in a submission), from 1"""
    task: str | None = None
    """which, by its task"""
    scenario: str | None = None
    """which, by its scenario"""
    agent: str | None = None
    """which, by its agent"""
    seed: int | None = None
    """which, by its seed"""
    device: str | None = None
    """auto, cpu, cuda, ...; by default the kind that it was played on, if it is here"""
    metric_tolerance: float = 0.03
    """how far metrics may be apart on another kind of machine"""
    loss_tolerance: float = 0.15
    """how far losses may be, relative to the larger one, or absolute below 1"""
    count_tolerance: float = 0.1
    """how far counts of samples and work may be, relative to the record's"""

    def __call__(self) -> None:
        """Say what differs, play, say what came of it."""
        entry, settings = self._entry()
        try:
            replay, verdict = _play(entry, settings, self._tolerances(), device=self.device)
        except (ValueError, TypeError) as error:
            raise UserError(f"{entry.name} cannot be played here: {error}") from error
        _show(entry, replay, verdict)
        if not verdict.reproduces:
            sys.exit(1)

    def _tolerances(self) -> Tolerances:
        from prune_env.experiment.replay import Tolerances

        given = self.metric_tolerance, self.loss_tolerance, self.count_tolerance
        try:
            return Tolerances(metric=given[0], loss=given[1], counts=given[2])
        except ValueError as error:
            raise UserError(str(error)) from error

    def _entry(self) -> tuple[Entry, dict[str, object]]:
        """The one that was asked for."""
        holding = _read(self.path)
        wanted = {
            name: value
            for name in ("task", "scenario", "agent", "seed")
            if (value := getattr(self, name)) is not None
        }
        found = [
            entry
            for entry in holding.entries
            if self.episode in (None, entry.number)
            and all(getattr(entry.record, name) == value for name, value in wanted.items())
        ]
        if len(found) != 1:
            said = {"episode": self.episode, **wanted} if self.episode else wanted
            asked = ", ".join(f"{name} {value}" for name, value in said.items()) or "nothing"
            problems = "".join(f"\n  {one}" for one in holding.problems)
            raise UserError(
                f"`path` {self.path} must hold one such episode, got {len(found)} of "
                f"{len(holding.entries)} ({asked} was said); say which with --episode N or --task, "
                f"--scenario, --agent and --seed{problems}"
            )
        return found[0], holding.settings


@dataclass(frozen=True, kw_only=True)
class Validate:
    """Check a results folder or a submission without trusting it; everything wrong is listed.

    The exit code is 1 if anything is. What a last network's metric really is only replays tell.
    """

    path: tyro.conf.Positional[Path]
    """a results folder, a submission, or a file with one record"""
    replay: int = 0
    """play so many of its episodes again, drawn at random"""
    seed: int = 0
    """of the draw"""

    def __call__(self) -> None:
        """Check, list."""
        holding = _read(self.path)
        if self.replay < 0 or self.seed < 0:
            raise UserError(
                f"`replay` and `seed` must be at least 0, got {self.replay} and {self.seed}"
            )
        problems = list(_check(holding))
        problems += _replayed(holding, self.replay, self.seed)
        print(f"{len(holding.entries)} records in {self.path}: ", end="")
        if problems:
            print(f"{len(problems)} things are wrong")
            print("\n".join(f"- {one}" for one in problems))
            sys.exit(1)
        print("nothing wrong was found")


@dataclass(frozen=True, kw_only=True)
class Submit:
    """Make the one file that a leaderboard takes of a results folder, if nothing is wrong with it.

    It has the records with their curves, settings, versions, processor, digests, and who stands
    for them. Everybody must have played at equal work, with `short` among them, on three seeds or
    more.
    """

    path: tyro.conf.Positional[Path]
    """a results folder"""
    out: Path
    """file to write, a new one"""
    who: str
    """who stands for the results"""
    contact: str
    """where to ask, such as a mail address"""
    link: str
    """where to read more, such as the code of an agent"""

    def __call__(self) -> None:
        """Check, write."""
        from prune_env.experiment import submission

        holding = _read(self.path)
        records = [entry.record for entry in holding.entries]
        problems = [*_check(holding), *submission.unfit(holding.settings, records)]
        if not holding.is_folder:
            problems.append("it is no results folder")
        if problems:
            listed = "\n".join(f"- {one}" for one in problems)
            raise UserError(
                f"`path` {self.path} cannot be submitted, {len(problems)} things are wrong:\n"
                f"{listed}"
            )
        said = {"who": self.who, "contact": self.contact, "link": self.link}
        try:
            values = submission.packed(
                holding.settings, [entry.values for entry in holding.entries], **said
            )
            submission.write_submission(self.out, values)
        except ValueError as error:
            raise UserError(str(error)) from error
        print(f"{len(holding.entries)} records written to {self.out}")


def _read(path: Path) -> Holding:
    from prune_env.experiment.holding import read_holding

    try:
        return read_holding(path)
    except ValueError as error:
        raise UserError(str(error)) from error


def _check(holding: Holding) -> tuple[str, ...]:
    """What is wrong; what cannot be checked here is printed."""
    from prune_env.experiment.validation import validate

    found = validate(holding)
    for note in found.notes:
        print(f"not checked: {note}", file=sys.stderr)
    return found.problems


def _replayed(holding: Holding, count: int, seed: int) -> list[str]:
    """Play some again; what is wrong, in words."""
    from prune_env.experiment.replay import drawn

    problems = []
    for entry in drawn(holding.entries, count, seed):
        try:
            replay, verdict = _play(entry, holding.settings)
        except (ValueError, TypeError) as error:
            problems.append(f"{entry.name}: it cannot be played here: {error}")
            continue
        _show(entry, replay, verdict)
        if not verdict.reproduces:
            apart = verdict.beyond or verdict.first
            problems.append(f"{entry.name}: {verdict.how}" + (f"; {apart}" if apart else ""))
    return problems


def _play(
    entry: Entry,
    settings: dict[str, object],
    tolerances: Tolerances | None = None,
    *,
    device: str | None = None,
) -> tuple[Replay, Verdict]:
    """Play an episode again, on as many threads as it was; what differs is named before."""
    from prune_env.experiment.replay import Replay, threads_of
    from prune_env.training.threads import tune_process

    threads = threads_of(settings)
    if threads is not None:
        tune_process(threads=threads)
    replay = Replay(entry.record, settings, device=device)
    for one in replay.differing:
        print(f"differs: {one}", file=sys.stderr)
    if replay.measured:
        print("its clock measured time, which nobody can repeat", file=sys.stderr)
    return replay, replay.play(tolerances)


def _show(entry: Entry, replay: Replay, verdict: Verdict) -> None:
    mine, other = entry.record, verdict.played
    print(f"{entry.name}: {verdict.how}")
    if verdict.first is not None:
        print(f"  first, {verdict.first}")
    if verdict.beyond is not None and verdict.beyond != verdict.first:
        print(f"  too far apart first, {verdict.beyond}")
    if verdict.first is not None:
        print(
            f"  test metric {mine.test_metric:.4f} there, {other.test_metric:.4f} here; work "
            f"{mine.work:.3f} and {other.work:.3f}; epochs {len(mine.curve) - 1} and "
            f"{len(other.curve) - 1}"
        )
    if replay.measured:
        spent = (sum(record.seconds.values()) for record in (mine, other))
        print("  seconds {:.2f} and {:.2f}".format(*spent))
