"""A line of a case's history in words, after the name of who did it."""

from __future__ import annotations

from screening.cases.models import CaseEntry

WORDS = {
    "opened": "opened the case",
    "alert_joined": "joined an alert",
    "assigned": "assigned the case",
    "noted": "wrote a note",
    "moved": "moved the case",
    "disposed": "closed the case",
    "reopened": "opened the case again",
    "file_made": "made the case file",
}


def entry_words(entry: CaseEntry) -> str:
    words = WORDS.get(entry.kind, entry.kind)
    details = entry.details
    match entry.kind:
        case "assigned":
            return f"{words} to {details.get('to') or 'nobody'}"
        case "moved":
            return f"{words} from {details.get('from')} to {details.get('to')}".replace("_", " ")
        case "disposed":
            labelled = details.get("labelled") or 0
            return f"{words}: {str(details.get('disposition')).replace('_', ' ')}, {labelled} transactions labelled"
    return words
