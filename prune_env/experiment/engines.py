"""Engines by name: what plays episodes on other machines, by Ray, Dask or SLURM."""

from __future__ import annotations

from dataclasses import fields

from prune_env.arguments import check_choice
from prune_env.experiment.agents import spec_arguments
from prune_env.experiment.on_dask import Dask
from prune_env.experiment.on_ray import Ray
from prune_env.experiment.on_slurm import Slurm
from prune_env.experiment.spreading import Engine

ENGINES = ("local", "ray", "dask", "slurm")


def make_engine(spec: str) -> Engine | None:
    """Make an engine of what the command line calls it.

    Args:
        spec: `local`, or `name:key=value,key=value` with the settings of `Ray`, `Dask` or `Slurm`.

    Returns:
        The engine, which has connected to nothing yet; None is this machine.

    Raises:
        ValueError: if there is no such engine, or it has no such settings.
        DependencyNotInstalled: if its extra is missing.
    """
    name, _, text = spec.partition(":")
    check_choice("engine", name, ENGINES)
    arguments = spec_arguments("engine", spec, text)
    if name == "slurm":
        return Slurm(**arguments)  # submitit checks what else it is given
    known = {"local": (), "ray": tuple(fields(Ray)), "dask": tuple(fields(Dask))}[name]
    names = [field.name for field in known]
    if unknown := sorted(set(arguments) - set(names)):
        raise ValueError(
            f"`engine` {name} takes {', '.join(names) or 'no settings'}, got "
            f"{', '.join(unknown)} in {spec!r}"
        )
    if name == "local":
        return None
    return Ray(**arguments) if name == "ray" else Dask(**arguments)
