"""The bundled agents: ordinary users of prune_env's public interface."""

from __future__ import annotations

import lazy_loader

# What is public stands in the stub beside this file, and is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
