"""DuckDB's errors as datapipe's, and the errors of its inputs, which it would turn into text."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pyarrow as pa

from datapipe.data.cancel import CancelToken
from datapipe.errors import DataError, DatapipeError, FatalError, PlanError, TransientError

_QUERY = re.compile(r"\n\nLINE \d+: [^\n]*\n *\^[ ^]*\Z")
# A value stands in quotes as it is, with quotes and empty lines of its own: it ends before what follows it there, or at
# the last quote.
_QUOTED = re.compile(
    r"""(?<=string )(?P<mark>['"]).*(?P=mark)(?= to [A-Z]| according to )|(?<=value )'.*'(?= can't be cast)"""
    r"""|(?<=format specifier )".*(?=\n *\^\nError: )|'.*'|".*\"""",
    re.S,
)
# Of a pattern, which may be a value, RE2 tells without quotes.
_PATTERN = r"(?:missing|unexpected) [\])]|operator|sequence|class|class range|repetition size|capture group"
_VALUE = re.compile(
    r"(?<=value )(?!(?:is|out)\b)\S+|(?<=key )(?!constraint)\S+|(?<!DECIMAL)\([^()]*\d[^()]*\)"
    rf"|(?P<before>(?:{_PATTERN}): ).*"
)
_SOURCE_COLUMN = re.compile(r"when casting from source column (.+)$")
_FULL = ("No space left", "File too large", "Disk quota exceeded", "ould not write")


class FirstError:
    """Keeps the error of an input: DuckDB would hand on its text alone."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def guard(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The same batches; an error on the way is kept."""
        try:
            yield from batches
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = self.error or error
            raise

    def explain(self, error: Exception, cancel: CancelToken) -> BaseException:
        """The error of an input if there was one, a cancellation, or DuckDB's own in our terms."""
        if self.error is not None:
            return self.error
        cancel.check()
        return translate(error)


def translate(error: Exception) -> DatapipeError:
    """The datapipe error for one of DuckDB's; values are taken out of the message."""
    whole = _QUERY.sub("", str(error))
    kind, message = _parts(whole)
    kind = kind.removesuffix(" Error").lower()
    if "max_temp_directory_size" in message:  # by itself it is what the disk has left
        hint = "Free space in the temporary folder, set TMPDIR to a larger one, or give the run more memory"
        return FatalError("the disk is full: there is no room to spill", hint=hint)
    if "out of memory" in kind or "failed to pin block" in message:  # the latter is what a COMMIT says
        return FatalError("the step needs more memory than it may use", hint="Give more: run(memory='2GB')")
    if "constraint" in kind:
        return DataError(_without_values(whole), hint="Correct the rows, or the constraint")
    if any(word in kind for word in ("binder", "catalog", "parser", "syntax")):
        return PlanError(message, hint="Check the names and the types in the SQL")
    if any(word in kind for word in ("permission", "not implemented", "invalid configuration")):
        return PlanError(_without_values(whole), hint="SQL reaches its inputs only: no file, no network, no setting")
    if kind == "io" and any(words in message for words in _FULL):
        return FatalError("the disk is full", hint="Free space, or give the run more memory")
    if kind == "io" and "Could not set lock" in message:
        return TransientError("another process has the DuckDB file open", hint="Close it and try again")
    if kind == "io":
        return PlanError(message, hint="Check the path")
    said = _without_values(whole)
    column = _SOURCE_COLUMN.search(said)
    return DataError(said, column=column.group(1) if column else None, hint="Use TRY_CAST, or a wider type")


def _parts(text: str) -> tuple[str, str]:
    """What kind of error it is, and its first paragraph in one line."""
    line = " ".join(text.split("\n\n", maxsplit=1)[0].split())
    kind, _, message = line.partition(": ")
    return kind, message or line


def _without_values(text: str) -> str:
    _, message = _parts(_QUOTED.sub("…", text))
    return _VALUE.sub(lambda found: f"{found['before'] or ''}…", message)
