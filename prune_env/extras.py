"""Packages that not everybody needs, named by the extra that brings them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gymnasium.error import DependencyNotInstalled


@contextmanager
def extra(name: str, purpose: str) -> Iterator[None]:
    """Import within this what an extra brings.

    Args:
        name: of the extra, a key of `[project.optional-dependencies]`.
        purpose: what needs it, in words; the subject of the message.

    Raises:
        DependencyNotInstalled: if it cannot be imported; the message says how to install it.
    """
    try:
        yield
    except ImportError as error:
        raise DependencyNotInstalled(
            f"{purpose} needs the extra {name!r} ({error}): pip install 'prune-env[{name}]'"
        ) from error
