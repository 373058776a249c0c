"""Many who ask for the same get one look, which began after each of them asked."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from datapipe.rest.together import Together


def test_no_answer_is_older_than_its_question_and_there_are_few_looks() -> None:
    looks: list[float] = []

    def look() -> float:
        looks.append(time.monotonic())
        time.sleep(0.01)
        return looks[-1]

    async def ask(together: Together[float], after: float) -> None:
        await asyncio.sleep(after)
        asked = time.monotonic()
        assert await together("k", look) >= asked

    async def many() -> None:
        together = Together[float]()
        await asyncio.gather(*(ask(together, number % 7 * 0.005) for number in range(200)))
        assert not together._next and not together._last, "nothing is kept"

    asyncio.run(many())
    assert 2 <= len(looks) <= 20


def test_other_questions_are_others() -> None:
    async def both() -> Any:
        together = Together[str]()
        return await asyncio.gather(together("a", lambda: "a"), together("b", lambda: "b"))

    assert asyncio.run(both()) == ["a", "b"]


def test_a_failure_is_told_to_all_and_not_kept() -> None:
    async def ask() -> Any:
        together = Together[int]()
        failed = await asyncio.gather(*(together("k", lambda: 1 // 0) for _ in range(3)), return_exceptions=True)
        return [type(error) for error in failed], await together("k", lambda: 1)

    assert asyncio.run(ask()) == ([ZeroDivisionError] * 3, 1)


def test_who_hangs_up_takes_the_answer_from_nobody() -> None:
    async def ask() -> Any:
        together = Together[int]()

        def look() -> int:
            time.sleep(0.05)
            return 1

        first = asyncio.create_task(together("k", look))
        second = asyncio.create_task(together("k", look))
        await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    assert asyncio.run(ask()) == 1
