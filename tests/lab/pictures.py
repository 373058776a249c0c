"""Pictures of pages: the colours of every dot, and small PNG files."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page

# The browser knows how to read a PNG; fetch() of such an address is forbidden on JupyterLab's pages.
_READ = """async text => {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], {type: 'image/png'}));
    const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    const dots = context.getImageData(0, 0, image.width, image.height).data;
    let found = '';
    for (let at = 0; at < dots.length; at += 30000) found += String.fromCharCode(...dots.subarray(at, at + 30000));
    return [image.width, image.height, btoa(found)];
}"""
_COLOURS = 256


def dots(page: Page, png: bytes) -> Any:
    """A picture as an array: rows, columns, and red, green and blue from 0 to 255."""
    width, height, found = page.evaluate(_READ, base64.b64encode(png).decode())
    return np.frombuffer(base64.b64decode(found), np.uint8).reshape(height, width, 4)[:, :, :3]


def write_png(path: Path, picture: Any) -> Path:
    """Write a picture as a PNG of at most 256 colours: the rarer ones become the nearest of the others."""
    height, width, _ = picture.shape
    codes = picture.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    known, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    kept = np.sort(np.argsort(-counts, kind="stable")[:_COLOURS])
    colours = np.stack([known >> 16, known >> 8 & 255, known & 255], axis=1).astype(np.int32)
    palette = colours[kept]
    nearest = np.array([((palette - colour) ** 2).sum(axis=1).argmin() for colour in colours], np.uint8)
    lines = np.zeros((height, width + 1), np.uint8)  # each line begins with its filter: none
    lines[:, 1:] = nearest[places].reshape(height, width)
    parts = [
        _part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        _part(b"PLTE", palette.astype(np.uint8).tobytes()),
        _part(b"IDAT", zlib.compress(lines.tobytes(), 9)),
        _part(b"IEND", b""),
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def _part(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
