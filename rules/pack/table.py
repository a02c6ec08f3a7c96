"""The pack as a Markdown table, for docs/rule-pack.md: one source for what is documented and what runs."""

from __future__ import annotations

from itertools import groupby

from rules.core.parse import parse_rule
from rules.core.wording import describe_condition
from rules.pack import PackEntry, pack_entries

BEGIN = "<!-- from here to the end: python -m rules.pack.table -->"


def pack_table() -> str:
    """Every entry under its typology: key, what it says, whether it is live from the start, where it comes from."""
    entries = sorted(pack_entries(), key=lambda entry: (entry.typology, entry.key))
    sections = [
        "\n".join([f"### {typology.replace('_', ' ').capitalize()}", "", *[_line(entry) for entry in group]])
        for typology, group in groupby(entries, key=lambda entry: entry.typology)
    ]
    return "\n\n".join([BEGIN, *sections]) + "\n"


def _line(entry: PackEntry) -> str:
    live = " · **live from the start**" if entry.is_enabled else ""
    said = "; and ".join(
        describe_condition(condition) for condition in parse_rule(entry.document).rule.condition.conditions
    )
    sources = "; ".join(entry.references)
    return (
        f"- **`{entry.key}`** {entry.document['name']}{live}  \n"
        f"  {entry.document['description']}  \n"
        f"  *Reads:* {said}.  \n"
        f"  *Source:* {sources}."
    )


if __name__ == "__main__":
    print(pack_table(), end="")  # noqa: T201
