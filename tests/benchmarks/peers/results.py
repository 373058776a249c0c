"""The results as a file: every single run, what was left out and why, the machine and the versions."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path

from .rounds import Round

MEASURED = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class Median:
    """The middle of a tool's rounds of one job; ``error`` if one of them went wrong."""

    seconds: float
    peak_mb: float
    rounds: int
    session: str
    code: str
    error: str = ""


@dataclass
class Results:
    """Runs by job, tool and scale: the newest ones replace those of an earlier session."""

    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    runs: list[Round] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    note: str = ""

    @classmethod
    def read(cls, path: Path) -> Results:
        """What a file holds; nothing if there is none."""
        if not path.exists():
            return cls()
        found = json.loads(path.read_text(encoding="utf-8"))
        runs = [Round(**one) for one in found["runs"]]
        return cls(found["machine"], found["versions"], runs, found["left_out"], found.get("note", ""))

    def write(self, path: Path) -> None:
        """Replace the file, with a line for each run; one that is interrupted leaves it whole."""
        others = {
            "machine": self.machine,
            "versions": self.versions,
            "left_out": self.left_out,
            "note": self.note,
        }
        head = json.dumps(others, indent=1).removesuffix("\n}")
        runs = ",\n".join(f"  {json.dumps(one.document())}" for one in self.runs)
        part = path.with_name(path.name + ".part")
        part.write_text(f'{head},\n "runs": [\n{runs}\n ]\n}}\n', encoding="utf-8")
        part.replace(path)

    def replace(self, rounds: list[Round]) -> None:
        """Keep these instead of earlier ones of the same job, tool and scale."""
        if rounds:
            key = _key(rounds[0].job, rounds[0].tool, rounds[0].scale)
            self.runs = [one for one in self.runs if _key(one.job, one.tool, one.scale) != key] + list(rounds)
            self.left_out.pop(key, None)

    def leave_out(self, job: str, tool: str, scale: float, reason: str) -> None:
        """Say why a job was not measured with a tool at a scale."""
        self.left_out[_key(job, tool, scale)] = reason

    def why(self, job: str, tool: str, scale: float) -> str | None:
        """Why a job was left out, if it was."""
        return self.left_out.get(_key(job, tool, scale))

    def median(self, job: str, tool: str, scale: float) -> Median | None:
        """The middle of the rounds; None if there are none."""
        rounds = [one for one in self.runs if (one.job, one.tool, one.scale) == (job, tool, scale)]
        if not rounds:
            return None
        seconds, peak = (
            statistics.median(values) for values in zip(*((r.seconds, r.peak_mb) for r in rounds), strict=True)
        )
        error = next((one.error for one in rounds if one.error), "")
        return Median(seconds, peak, len(rounds), rounds[0].session, rounds[0].code, error)

    def too_long(self, job: str, tool: str, scale: float, longest: float) -> str | None:
        """The reason to leave a job out, by what it took at the nearest smaller scale."""
        smaller = [one.scale for one in self.runs if (one.job, one.tool) == (job, tool) and one.scale < scale]
        if not smaller:
            return None
        found = self.median(job, tool, max(smaller))
        if found is None or found.error:
            return None
        estimate = found.seconds * scale / max(smaller)
        return f"about {estimate / 60:.0f} min, by scale {max(smaller):g}" if estimate > longest else None


def _key(job: str, tool: str, scale: float) -> str:
    return f"{job}/{tool}/{scale:g}"
