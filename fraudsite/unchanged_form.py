"""Forms that do not take back what somebody else has changed since they were opened: an old tab saves every field."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from django import forms
from django.db.models import Model

# Changed on a page of its own.
_APART = ("seen", "password")


class UnchangedForm(forms.ModelForm):
    """Says what stands there by now, with what was typed still in it; saving once more puts that in its place."""

    seen = forms.CharField(widget=forms.HiddenInput, required=False)

    def get_initial_for_field(self, field: forms.Field, field_name: str) -> Any:
        if field_name == "seen" and self.instance.pk is not None:
            return self._state()
        return super().get_initial_for_field(field, field_name)

    def clean(self) -> dict[str, Any] | None:
        given = super().clean()
        seen = self.cleaned_data.get("seen")
        if self.instance.pk is not None and seen and seen != self._state():
            self.data = self.data.copy()  # type: ignore[has-type]
            self.data[self.add_prefix("seen")] = self._state()
            self.add_error(
                None,
                f"Somebody else has changed this meanwhile; it stands there as: {self._stands()}. "
                "Saving once more puts what stands here in its place.",
            )
        return given

    def _state(self) -> str:
        known = {name: _words(value) for name, value in self.initial.items() if name not in _APART}
        return sha256(repr(sorted(known.items())).encode()).hexdigest()[:16]

    def _stands(self) -> str:
        differing = [name for name in self.changed_data if name not in _APART]
        said = [f"{self.fields[name].label} {_words(self.initial.get(name))}" for name in differing]
        return "; ".join(said) or "what was typed"


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(sorted(str(each) for each in value)) or "none"
    if isinstance(value, Model):
        return str(value)
    return str(value or "nothing")
