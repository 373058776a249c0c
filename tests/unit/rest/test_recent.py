"""One look for all who ask at the same time."""

from __future__ import annotations

import asyncio
import time

import pytest

from datapipe.rest.recent import Recent


def test_many_who_ask_at_once_get_one_look() -> None:
    looks = []

    def look() -> int:
        time.sleep(0.05)
        looks.append(1)
        return len(looks)

    async def many() -> list[int]:
        recent = Recent(look, 60)
        return await asyncio.gather(*(recent() for _ in range(200)))

    assert asyncio.run(many()) == [1] * 200


def test_a_look_grows_old() -> None:
    recent = Recent(iter(range(9)).__next__, 0.0)

    async def twice() -> list[int]:
        first = await recent()
        await asyncio.sleep(0.01)
        return [first, await recent()]

    assert asyncio.run(twice()) == [0, 1]


def test_a_look_that_fails_is_not_kept() -> None:
    looks = iter([1, 0])
    recent = Recent(lambda: 1 // (1 - next(looks)), 60)

    async def twice() -> int:
        with pytest.raises(ZeroDivisionError):
            await recent()
        return await recent()

    assert asyncio.run(twice()) == 1
