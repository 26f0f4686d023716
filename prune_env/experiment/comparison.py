"""Run agents over scenarios and seeds at equal budget; one record an episode, kept as it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from prune_env.arguments import check_count
from prune_env.devices import on_gpu, resolve_device
from prune_env.experiment.errand import Errand, play_over
from prune_env.experiment.inputs import check_held, whole_record
from prune_env.experiment.jobs import Packed, jobs_within, play_beside
from prune_env.experiment.lineup import Lineup
from prune_env.experiment.needs import untold
from prune_env.experiment.pieces import Pieces, UnfinishedEpisode
from prune_env.experiment.playing import SELECTIONS, play_all, run_episode
from prune_env.experiment.records import Key, named
from prune_env.experiment.results import Results
from prune_env.experiment.running import Episodes, Playing, check_unmeasured, turns_of
from prune_env.experiment.shards import Shard
from prune_env.experiment.spreading import Engine
from prune_env.storage.fields import JsonObject

Places = Callable[[Key], UnfinishedEpisode]


@dataclass(frozen=True, kw_only=True)
class Comparison(Lineup):
    """Agents on equal terms: the same instances, seeds and budget for each.

    Attributes:
        tasks: names, or objects.
        scenarios: as text, or objects such as `Noise(0.3)`.
        agents: objects such as `UCB(c=2)`, or as text that `make_agent` reads; records call them
            by that text. An object plays in copies, and stays as it is.
        seeds: seeds of the episodes; the same split, weights and order for every agent.
        epochs: length of the reference run, in full epochs, above 0. Everybody else's budget is
            `keep_fraction` times that.
        keep_fraction: kept / N in (0, 1].
        model: network in place of the tasks' own, or None.
        num_samples: cut every training set to this many, or None.
        clock: `work` or `wall`.
        device: as for `DataPruningEnv`.
        precision: as for `DataPruningEnv`.
        timing: play for the seconds: one episode after another, all agents within a seed and
            beginning with another one for each, after a first that is not counted. The clock
            `wall` does so too.
        machines: `one`, for episodes of machines of one kind with the same versions, or `several`:
            what they differ in is in every record then, and tables say it.
        left_out: agents that were to play, and why they do not: for the records.
    """

    def without_untold(self) -> Comparison:
        """The same without the agents that one of the tasks tells too little, which records name.

        Raises:
            ValueError: if a task has no data.
        """
        told = {f"task {task!r}": self._provided(task) for task in self._tasks}
        found = untold({spec: self._agent(spec) for spec in self._agents}, told)
        playing = tuple(one for spec, one in self._agents.items() if spec not in found)
        return replace(self, agents=playing, left_out={**self.left_out, **found})

    def run(
        self,
        results: Results,
        *,
        jobs: int | None = 1,
        engine: Engine | None = None,
        shard: Shard | None = None,
        pieces: Pieces | None = None,
    ) -> None:
        """Run every episode that `results` does not hold yet, with progress bars.

        Args:
            results: of these settings; its records end up in the order of the seeds, whatever the
                order that they were played in.
            jobs: processes that play at once, with torch's threads of this one each, or None for
                as many as there are cores for them; the records are the same, bit for bit, but for
                the seconds and `beside`. With None others begin where it is worth their start, once
                this one has played for some seconds; on a GPU None is 1. With an engine, pieces of
                work begun at once, None all.
            engine: plays on other machines, as `prune_env.experiment.engines.make_engine` makes
                one; is closed at the end.
            shard: play only that part of the episodes.
            pieces: keeps where an unfinished episode stands, in the folder of `results`, and ends
                in time; None does neither.

        Raises:
            ValueError: if `results` holds episodes of other data or of an agent with other
                arguments, `jobs` do not go with the clock or with this process's threads, or a
                part of the comparison cannot be pickled, before anything is trained; or if an
                agent's action is malformed.
            RuntimeError: if a process that played an episode has ended twice, or a worker of an
                engine several times.
            PieceEndedError: if `pieces` says so; another run goes on there.
        """
        elsewhere = self._elsewhere(jobs, engine)
        places = None if pieces is None else self._places(pieces, results, elsewhere)
        # What cannot be played is found before anything is.
        check_held(results, self._inputs, alone=bool(self._measured))
        turns, own = self._turns(shard), self.machine_settings
        missing = [key for key in turns if key not in results]
        patient = jobs is None and engine is None
        play = partial(self._episode, places=places)
        playing = Playing(play=play, elsewhere=elsewhere, patient=patient)
        if self.timing and missing:  # the first of a process takes longer than any other
            self._episode(missing[0])
        with nullcontext() if engine is None else closing(engine):
            for key, record in playing.records(missing, held=len(turns) - len(missing)):
                selections = record.pop(SELECTIONS)
                made = {"settings": own, "inputs": self._inputs[key[:3]]} | record
                results.add(whole_record(key, made, self.settings, self.left_out), selections)
                if places is not None:
                    places(key).forget()
        results.arrange(turns_of(self._names, self.seeds))

    def jobs_at_once(self, jobs: int | None, *, threads: int) -> int:
        """How many processes `run` plays in.

        Args:
            jobs: as for `run`.
            threads: of torch in each.

        Raises:
            ValueError: if `jobs` do not go with the clock, with `timing` or with the cores.
        """
        check_count("jobs", 1 if jobs is None else jobs)
        check_unmeasured("jobs", jobs or 1, 1, self._measured)
        if self._measured or (jobs is None and on_gpu(resolve_device(self.device))):
            return 1
        episodes = len(self._names) * len(self.seeds)
        return jobs_within(jobs, threads=threads, episodes=episodes)

    def _elsewhere(
        self, jobs: int | None, engine: Engine | None
    ) -> Callable[[Sequence[Key]], Episodes] | None:
        """What plays episodes in other processes or on other machines."""
        if engine is not None:
            check_unmeasured("engine", type(engine).__name__.lower(), "local", self._measured)
            errand = Errand(packed=self._packed(), settings=self.settings, inputs=self._inputs)
            return partial(play_over, engine, errand, jobs)
        at_once = self.jobs_at_once(jobs, threads=torch.get_num_threads())
        if at_once == 1:
            return None
        longest = self.epochs * max(self._size(task, "clean") for task in self._tasks)
        small = all(model.startswith("mlp") for model in self.models)
        together = longest if small and not on_gpu(resolve_device(self.device)) else None
        return partial(play_beside, self._packed(), at_once, together)

    def _turns(self, shard: Shard | None) -> list[Key]:
        """The episodes of a part, or all, in the order that they are played in."""
        timed = bool(self._measured)  # all agents of a seed on one machine
        turns = turns_of(self._names, self.seeds, turning=timed)
        return turns if shard is None else shard.of_episodes(turns, self._cost, whole_seeds=timed)

    def _cost(self, task: str, scenario: str, spec: str) -> float:
        """Samples that an episode's budget pays for."""
        return self._size(task, scenario) * self._budget(self._made((task, scenario, spec))[1])

    def _packed(self) -> Packed:
        kinds: dict[str, Mapping[str, Any]] = {"tasks": self._tasks, "agents": self._agents}
        return Packed.of(self, {**kinds, "scenarios": self._scenarios}, self._tasks)

    def play(self, keys: Sequence[Key]) -> list[JsonObject]:
        """What `run_episode` returns for episodes, played in this process, together if several.

        With what they selected, as `run_episode` keeps it.

        Args:
            keys: theirs, distinct; several only with the clock `work`.

        Raises:
            ValueError: if an agent's action is malformed, or its scores leave nothing to train.
        """
        records = play_all(keys, self._made, self._episode)
        return [record | {"settings": self.machine_settings} for record in records]

    def _places(self, pieces: Pieces, results: Results, elsewhere: Any) -> Places:
        """Where each episode's state is kept, by its key.

        Raises:
            ValueError: if it cannot be.
        """
        folder = results.folder
        if folder is None or self.clock != "work" or elsewhere is not None:
            raise ValueError(
                "`pieces` go with results that have a folder, and with clock 'work', one job and "
                f"no engine, got {folder} and {self.clock!r}; a measured budget is that of one "
                "process, and so is what goes on in the middle of an episode"
            )

        def place(key: Key) -> UnfinishedEpisode:
            made = {"settings": self.settings, "inputs": self._inputs[key[:3]]}
            return pieces.episode(folder, named(key) | made)

        return place

    def _episode(
        self,
        key: Key,
        on_epoch: Callable[[JsonObject], None] = lambda info: None,
        places: Places | None = None,
    ) -> JsonObject:
        task, scenario, spec, seed = key
        env, agent = self._made((task, scenario, spec))
        unfinished = None if places is None else places(key)
        if unfinished is not None:
            unfinished.check_begin()
        try:
            return run_episode(
                env, agent, seed=seed, on_epoch=on_epoch, unfinished=unfinished, keep=True
            )
        except ValueError as error:
            raise ValueError(
                f"`agent` {spec!r} on {task}, {scenario}, seed {seed}: {error}"
            ) from error
