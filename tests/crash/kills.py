"""Kills the runs of a cell and judges what is left.

Two kills of three wait until a run copies, and fall within the time that a run takes from there to COMMIT; the third
falls anywhere in a run. Where a kill really landed is read from the marks of the run that was killed.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from signal import SIGKILL

from crash.cells import PROMISED, Cell, Load
from crash.child import COPY_TO_COMMIT
from crash.runs import ForkServer, Run, wait_until

_KILLS = 3  # of one key, at most


@dataclass
class Tally:
    """What a number of cases came to."""

    cases: int = 0
    replays: int = 0
    places: Counter[str] = field(default_factory=Counter)  # the last marks of the runs that were killed
    longest: float = 0.0  # seconds until locks and connections of killed runs were gone
    wrong: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """Kills that met a run at work."""
        return self.places.total()

    @property
    def inside(self) -> int:
        """Kills between the first bytes of COPY and COMMIT."""
        return sum(self.places[place] for place in COPY_TO_COMMIT)

    @property
    def problems(self) -> list[str]:
        """What was wrong, with the runs or with the aim."""
        missed = 3 * self.inside < self.kills
        return self.wrong + ["fewer than a third of the kills landed between COPY and COMMIT"] * missed


class Killer:
    """Kills the runs of one cell."""

    def __init__(self, cell: Cell, server: ForkServer, seed: str) -> None:
        self.cell, self.tally = cell, Tally()
        self._server, self._random = server, random.Random(seed)
        self._number = 0
        self._whole: deque[float] = deque(maxlen=9)  # seconds that a run took
        self._window: deque[float] = deque(maxlen=9)  # and of these, from the first bytes of COPY to COMMIT
        for existed in (True, False, True):
            self._finish(self._load(existed), [])
        self.tally.cases = 0

    def kill(self, count: int, seconds: float = float("inf")) -> Tally:
        """Kill at random times, so often or for so long."""
        until = time.monotonic() + seconds
        while self.tally.kills < count and time.monotonic() < until:
            self._random_case(min(_KILLS, count - self.tally.kills))
        return self.tally

    def kill_at(self, point: str) -> Tally:
        """A run that kills itself at a named point, with another one of its key beside it."""
        load = self._load(existed=self._number % 2 == 0)
        runs = [self._server.start(self.cell.case(load, at=point))]
        runs[0].reach("claimed")
        runs.append(self._server.start(self.cell.case(load)))
        wait_until(lambda: not runs[0].alive)
        runs[0].killed = True
        if runs[0].places[-1] != point:
            self.tally.wrong.append(f"{load.table}: killed at {runs[0].places}, not at {point}")
        self._note(load, runs[:1])
        self._finish(load, runs)
        return self.tally

    def _load(self, existed: bool) -> Load:
        self._number += 1
        load = Load(f"key {self._number}", f"t{self._number}", existed)
        self.cell.prepare(load)
        return load

    def _random_case(self, kills: int) -> None:
        """A key that one process runs, or two at a time, killed; then it is run until it has succeeded."""
        load = self._load(existed=self._random.random() < 0.5)
        width = 1 + self._number % 2
        runs: list[Run] = []
        for number in range(kills):
            alive = [run for run in runs if run.alive]
            started = [self._server.start(self.cell.case(load)) for _ in range(width - len(alive))]
            runs += started
            self._delay([*alive, *started], aimed=number != 1)
            victims = self._victims([*alive, *started])
            for run in victims:
                run.send(SIGKILL)
            wait_until(lambda gone=victims: not any(run.alive for run in gone))
            if not any(run.alive for run in runs):
                self._check_free(load)
            self._note(load, victims)
            if any(run.outcome for run in runs):
                break
        self._finish(load, runs)

    def _delay(self, runs: list[Run], *, aimed: bool) -> None:
        if aimed:
            wait_until(lambda: any("copying" in run.places for run in runs) or not any(run.alive for run in runs))
        longest = min(self._window) if aimed else statistics.median(self._whole)
        time.sleep(self._random.uniform(0, longest))

    def _victims(self, runs: list[Run]) -> list[Run]:
        """All of them, as when a machine dies, or only the one that is furthest: its twin takes over."""
        if self._random.random() < 0.5:
            return runs
        return [max(runs, key=lambda run: len(run.places))]

    def _note(self, load: Load, victims: list[Run]) -> None:
        """Count a kill once, where it met the run that was furthest, and look at what is there."""
        killed = [run.places for run in victims if run.outcome is None]
        if killed:
            self.tally.places[(max(killed, key=len) or ["started"])[-1]] += 1
        self._wrong(load, self.cell.torn(load))

    def _check_free(self, load: Load) -> None:
        seconds = self.cell.free_after()
        self.tally.longest = max(self.tally.longest, seconds)
        self._wrong(load, [f"something holds on for {seconds:.1f} s"] if seconds > PROMISED else [])

    def _finish(self, load: Load, runs: list[Run]) -> None:
        """Run the key until it has succeeded, and once more; then look at everything."""
        for run in runs:
            assert run.wait(), f"hangs after {run.places}"
        if not any(run.outcome for run in runs):
            runs.append(self._run(load))
            self._learn(runs[-1])
        again = self._run(load)
        self._check_free(load)
        left = self._server.sweep(killed=sum(run.killed for run in runs))
        self._wrong(load, [*self._judged(runs, again), *self.cell.wrong(load), *left])
        self.tally.cases += 1
        for run in (*runs, again):
            run.close()

    def _run(self, load: Load) -> Run:
        run = self._server.start(self.cell.case(load))
        assert run.wait(), f"hangs after {run.places}"
        return run

    def _learn(self, run: Run) -> None:
        """How long a run takes that nobody killed."""
        at = {mark["mark"]: mark["at"] for mark in run.marks}
        if "committed" in at:
            self._whole.append(at["done"] - run.began)
            self._window.append(at["committed"] - at["copying"])

    def _judged(self, runs: list[Run], again: Run) -> list[str]:
        """What the runs said that is not so."""
        outcomes = [run.outcome for run in runs if run.outcome]
        problems = [f"{end['error']}: {end['message']}" for end in outcomes if end["state"] == "failed"]
        problems += [f"died after {run.places}" for run in runs if not (run.outcome or run.killed)]
        succeeded = [end for end in outcomes if end["state"] == "succeeded"]
        replays = sum(end["replayed"] for end in succeeded)
        self.tally.replays += replays
        if len(succeeded) - replays > 1:
            problems.append(f"{len(succeeded) - replays} runs say that they loaded")
        if not (again.outcome or {}).get("replayed") or "reading" in again.places:
            problems.append(f"not a replay: {again.marks}")
        return problems

    def _wrong(self, load: Load, problems: list[str]) -> None:
        self.tally.wrong += [f"{self.cell.kind} {self.cell.strategy} {load}: {problem}" for problem in problems]
