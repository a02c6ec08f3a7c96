"""Rule versions, compiled once per process: a publish, a batch or a past decision compiles only what is new to it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from django.db.models import Q

from rules.core.compile import CompiledRule, compile_rule
from rules.core.parse import parse_rule
from rules.models import RuleVersion

KNOWN_VERSIONS = 5_000
Key = tuple[int, int]


class CompiledVersions:
    """By (rule id, version number), the latest used 5,000. A version's wording never changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Key, tuple[Any, CompiledRule]] = OrderedDict()

    def of(self, version: RuleVersion) -> CompiledRule:
        key = version.rule_id, version.number
        known = self._find(key)
        # In a database that was restored the number may be another version's.
        if known is not None and known[0] == version.definition:
            return known[1]
        parsed = parse_rule(version.definition).rule
        compiled = compile_rule(parsed, rule_id=version.rule_id, version=version.number)
        with self._lock:
            self._known[key] = version.definition, compiled
            while len(self._known) > KNOWN_VERSIONS:
                self._known.popitem(last=False)
        return compiled

    def get(self, wanted: Iterable[Key]) -> dict[Key, CompiledRule]:
        """All that are wanted, the unknown ones read with one query."""
        found: dict[Key, CompiledRule] = {}
        missing = Q()
        for key in set(wanted):
            known = self._find(key)
            if known is None:
                missing |= Q(rule_id=key[0], number=key[1])
            else:
                found[key] = known[1]
        if missing:
            for version in RuleVersion.objects.filter(missing):
                found[version.rule_id, version.number] = self.of(version)
        return found

    def _find(self, key: Key) -> tuple[Any, CompiledRule] | None:
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
            return found

    def forget(self) -> None:
        with self._lock:
            self._known.clear()


versions = CompiledVersions()
