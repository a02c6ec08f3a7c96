"""The endpoints of events that rules are evaluated on."""

from __future__ import annotations

from collections.abc import Sequence

from ingestion.events.api import EventView, post_of
from ingestion.events.payloads import KINDS
from ingestion.events.services import Stored
from screening.enqueueing import events_enqueue
from screening.events_api.services import INLINE, stored_screen


class ScreenedEventView(EventView):
    """Screened before it is answered; of a long list, by a worker right after."""

    def after_store(self, stored: Sequence[Stored]) -> None:
        if len(stored) <= INLINE:
            stored_screen(kind=self.kind, stored=stored)
        else:
            events_enqueue(kind=self.kind.name, ids=[each.payload.id for each in stored])


class LoginView(ScreenedEventView):
    """A login of a user, successful or not."""

    kind = KINDS["login"]
    post = post_of("login")


class CardView(ScreenedEventView):
    """Something that happened to a card."""

    kind = KINDS["card"]
    post = post_of("card")


class AlertView(ScreenedEventView):
    """An alert another system raised about a user."""

    kind = KINDS["alert"]
    post = post_of("alert")
