"""A multipart upload spooled to disk as it comes in, and what its other parts say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from rest_framework.request import Request

from fraudsite.api.problems import PayloadTooLarge
from fraudsite.api.serializers import true_or_false
from fraudsite.errors import FieldError, Invalid
from fraudsite.json_body import JsonBodyError, decode
from ingestion.imports.layout import Options
from screening.imports.services import incoming_file

FIELDS = ("name", "format", "delimiter", "mapping", "lower_case", "ignore_unknown", "time_zone")
DELIMITER_NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "pipe": "|", "\\t": "\t"}


class SpooledFile(UploadedFile):  # type: ignore[misc]
    """An upload on disk. `path` is removed by `discard` unless somebody moved it away."""

    def __init__(self, file: Any, path: Path, name: str, size: int) -> None:
        super().__init__(file=file, name=name, size=size)
        self.path = path

    def discard(self) -> None:
        self.file.close()
        self.path.unlink(missing_ok=True)


class SpoolHandler(FileUploadHandler):  # type: ignore[misc]
    """Writes each file part to the uploads folder, piece by piece."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._file = incoming_file()
        self._path = Path(self._file.name)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._file.write(raw_data)

    def file_complete(self, file_size: int) -> SpooledFile:
        self._file.flush()
        return SpooledFile(self._file, self._path, self.file_name or "", file_size)

    def upload_interrupted(self) -> None:
        if hasattr(self, "_path"):
            self._file.close()
            self._path.unlink(missing_ok=True)


def spool_to_disk(request: Request) -> None:
    """Before anything reads the body. Raises PayloadTooLarge by what the client says it will send."""
    limit = settings.IMPORT_MAX_BYTES
    if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
        raise PayloadTooLarge(f"A file may have at most {limit} bytes.")
    request._request.upload_handlers = [SpoolHandler(request._request)]


def uploaded_file(request: Request) -> SpooledFile:
    """The one file of the request. Raises Invalid."""
    files = [file for name in request.FILES for file in request.FILES.getlist(name)]
    if len(files) == 1:
        return files[0]
    for file in files:
        file.discard()
    problem = "is required" if not files else f"is one file, not {len(files)}"
    raise Invalid("Send one file.", [FieldError("file", problem)])


def options_of(form: Any) -> tuple[str, Options]:
    """(name, options) from the text parts. Raises Invalid naming each that is wrong."""
    texts = [name for name in form if isinstance(form.get(name), str)]
    errors = [
        FieldError(name[:100] or "$", f"is not known here; there are file, {', '.join(FIELDS)}")
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
