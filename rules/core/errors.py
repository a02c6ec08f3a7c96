"""What is wrong with a rule document: where, what was expected, and the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class RuleProblem:
    """`path` is a JSON path from the rule ("conditions[0].filters[1].value"; "" is the whole document)."""

    path: str
    message: str
    suggestion: str | None = None

    @property
    def told(self) -> str:
        """The message with what was probably meant."""
        return self.message + (f" (did you mean {self.suggestion!r}?)" if self.suggestion else "")

    def __str__(self) -> str:
        return f"{self.path or 'rule'}: {self.told}"


class RuleErrors(Exception):
    """A document that is no valid rule. `problems` names everything wrong with it, in document order."""

    def __init__(self, problems: Iterable[RuleProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class EvaluationFailed(Exception):
    """A comparison that cannot be evaluated at all (as opposed to one whose facts are missing)."""


def nearest(name: object, valid: Iterable[str]) -> str | None:
    """The valid name a misspelt one was probably meant to be, if any is near."""
    if not isinstance(name, str):
        return None
    matches = get_close_matches(name.lower()[:128], list(valid), n=1, cutoff=0.6)
    return matches[0] if matches else None
