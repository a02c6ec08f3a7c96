"""What is kept in Redis for a while is text. Django would pickle it, and whoever writes there could run code here."""

from __future__ import annotations


class TextSerializer:
    """Of `CACHES`: str to UTF-8 and back. TypeError for anything else."""

    def dumps(self, value: object) -> bytes:
        if not isinstance(value, str):
            raise TypeError(f"the cache keeps text, not {type(value).__name__}")
        return value.encode()

    def loads(self, data: bytes) -> str:
        return data.decode(errors="replace")
