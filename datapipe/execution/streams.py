"""What a cell has printed, as a terminal would show it in the end: one text for pieces that follow each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def joined(outputs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The outputs of a cell with pieces of the same stream put together, in time that grows with their length.

    Examples
    --------
    >>> pieces = [{"output_type": "stream", "name": "stdout", "text": text} for text in ("50 %\\r", "100 %", "\\nend")]
    >>> joined(pieces)[0]["text"]
    '100 %\\nend'
    """
    found: list[dict[str, Any]] = []
    texts: list[str] = []
    for output in outputs:
        is_stream = output.get("output_type") == "stream"
        if is_stream and found and texts and found[-1]["name"] == output["name"]:
            texts.append(_text(output))
            continue
        _close(found, texts)
        found.append(dict(output))
        texts = [_text(output)] if is_stream else []
    _close(found, texts)
    return found


def _close(found: list[dict[str, Any]], texts: list[str]) -> None:
    if texts:
        found[-1]["text"] = as_seen("".join(texts))


def _text(output: Mapping[str, Any]) -> str:
    text = output.get("text", "")
    return text if isinstance(text, str) else "".join(text)


def as_seen(text: str) -> str:
    """The text without what was written over in its line, such as the earlier states of a progress bar.

    Examples
    --------
    >>> as_seen("a\\rb\\r\\nc")
    'b\\r\\nc'
    """
    if "\r" not in text:
        return text
    return "\n".join(_last(line) for line in text.split("\n"))


def _last(line: str) -> str:
    body, end = (line[:-1], "\r") if line.endswith("\r") else (line, "")
    return body.rpartition("\r")[2] + end
