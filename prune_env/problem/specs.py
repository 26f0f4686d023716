"""Where data are and how they are read, as a text: PATH?key=value&key=value."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a task's name says after its kind.

    Attributes:
        path: as written.
        options: by name, as written.
    """

    path: str
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, known: Mapping[str, str]) -> Spec:
        """Read `PATH?key=value&key=value`.

        Args:
            text: it; a question mark of a path cannot be written.
            known: what may be said, each with the rule of its value.

        Raises:
            ValueError: if the path is empty, or a key is unknown, twice or without a value.
        """
        path, _, rest = text.partition("?")
        if not path:
            raise ValueError(f"`task` must name a path, got {text!r}")
        options: dict[str, str] = {}
        for piece in rest.split("&") if rest else []:
            key, equals, value = piece.partition("=")
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                raise ValueError(
                    f"`task` takes {', '.join(f'{one}={rule}' for one, rule in known.items())}, "
                    f"got {piece!r}" + (f"; did you mean {near[0]!r}?" if near else "")
                )
            if not equals or not value or key in options:
                raise ValueError(f"`task` must have one value for {key!r}, got {text!r}")
            options[key] = value
        return cls(path=path, options=options)

    def names(self, key: str) -> list[str]:
        """A value that lists names, joined by commas; none where it is not there."""
        return self.options[key].split(",") if key in self.options else []

    def choice(self, key: str, choices: Mapping[str, str] | tuple[str, ...]) -> str | None:
        """A value that is one of some; None where it is not there.

        Raises:
            ValueError: if it is another.
        """
        value = self.options.get(key)
        if value is not None and value not in choices:
            raise ValueError(f"`task` {key} must be one of {', '.join(choices)}, got {value!r}")
        return value

    def count(self, key: str, default: int) -> int:
        """A whole number of at least 1.

        Raises:
            ValueError: if it is none.
        """
        value = self.options.get(key, str(default))
        if not value.isdecimal() or int(value) < 1:
            raise ValueError(f"`task` {key} must be a whole number of at least 1, got {value!r}")
        return int(value)
