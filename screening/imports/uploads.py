"""A multipart upload spooled to disk as it comes in, and what its other parts say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import structlog
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest
from rest_framework.request import Request

from fraudsite.api.serializers import true_or_false
from fraudsite.errors import Busy, FieldError, Invalid, TooLarge
from fraudsite.json_body import JsonBodyError, decode
from ingestion.imports.layout import Options
from screening.imports.services import incoming_file

log = structlog.get_logger(__name__)
FIELDS = ("name", "format", "delimiter", "mapping", "lower_case", "ignore_unknown", "time_zone")
DELIMITER_NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "pipe": "|", "\\t": "\t"}


class SpooledFile(UploadedFile):
    """An upload on disk, at `path` until somebody moves it away."""

    def __init__(self, file: Any, path: Path, name: str, size: int) -> None:
        super().__init__(file=file, name=name, size=size)
        self.path = path


class SpoolHandler(FileUploadHandler):
    """Writes each file part to the uploads folder, piece by piece. `discard` ends it, whatever came of the request."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._files: list[IO[bytes]] = []

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        with _on_disk():
            self._files.append(incoming_file())

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        with _on_disk():
            self._files[-1].write(raw_data)

    def file_complete(self, file_size: int) -> SpooledFile:
        file = self._files[-1]
        with _on_disk():
            file.flush()
        return SpooledFile(file, Path(file.name), self.file_name or "", file_size)

    def discard(self) -> None:
        """Remove every file that nobody moved away."""
        for file in self._files:
            # What a full disk did not take is written once more.
            with suppress(OSError):
                file.close()
            Path(file.name).unlink(missing_ok=True)


@contextmanager
def _on_disk() -> Iterator[None]:
    """A disk that is full, or a folder that cannot be written, is the operator's: the client may come again."""
    try:
        yield
    except OSError as error:
        log.error("upload_cannot_be_kept", folder=str(settings.IMPORT_DIR), error=str(error))
        raise Busy(
            "There is no room for the file at this moment, and nothing of it was kept; the platform's log says why."
        ) from None


def check_size(meta: Mapping[str, Any]) -> None:
    """Raises TooLarge by what the client says it will send, before any of it is read."""
    limit = settings.IMPORT_MAX_BYTES
    if int(meta.get("CONTENT_LENGTH") or 0) > limit:
        raise TooLarge(f"A file may have at most {limit} bytes.")


@contextmanager
def spooled_to_disk(request: HttpRequest) -> Iterator[None]:
    """Inside, whatever reads the body writes its files to the uploads folder; what is left of them is removed."""
    handler = SpoolHandler(request)
    request.upload_handlers = [handler]
    try:
        yield
    finally:
        handler.discard()


def uploaded_file(request: Request) -> SpooledFile:
    """The one file of the request. Raises Invalid."""
    files = [file for name in request.FILES for file in request.FILES.getlist(name)]
    if len(files) == 1:
        return files[0]
    problem = "is required" if not files else f"is one file, not {len(files)}"
    raise Invalid("Send one file.", [FieldError("file", problem)])


def options_of(form: Any) -> tuple[str, Options]:
    """(name, options) from the text parts. Raises Invalid naming each that is wrong."""
    texts = [name for name in form if isinstance(form.get(name), str)]
    errors = [
        FieldError(name[:100] or "$", f"is not known here; known are file, {', '.join(FIELDS)}")
        for name in texts
        if name not in FIELDS
    ]
    errors += [FieldError(name, "is given twice") for name in FIELDS if len(form.getlist(name)) > 1]
    errors += [
        FieldError(name, "must be printable text of at most 200 characters")
        for name in ("name", "format", "time_zone")
        if not _is_plain(form.get(name, ""))
    ]
    flags = {}
    for name in ("lower_case", "ignore_unknown"):
        said = true_or_false(form.get(name) or "false")
        if said is None:
            errors.append(FieldError(name, "must be true or false"))
        flags[name] = bool(said)
    mapping: Any = {}
    try:
        mapping = decode(form["mapping"].encode()) if form.get("mapping") else {}
        if not isinstance(mapping, dict):
            errors.append(FieldError("mapping", "must be a JSON object"))
    except (JsonBodyError, UnicodeEncodeError) as error:
        errors.append(FieldError("mapping", f"must be a JSON object: {error}"))
    if errors:
        raise Invalid("The import cannot be made.", errors)
    delimiter = form.get("delimiter", "")
    return form.get("name", ""), Options(
        format=form.get("format", "").lower(),
        delimiter=DELIMITER_NAMES.get(delimiter.lower(), delimiter),
        mapping=mapping,
        time_zone=form.get("time_zone", ""),
        **flags,
    )


def _is_plain(text: str) -> bool:
    return text == "" or (text.isprintable() and len(text) <= 200)
