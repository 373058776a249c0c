"""What it was measured on, without names of hosts and folders."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from services import find_mysql, find_postgresql

from .tools import TOOLS, Tool

_ASK = "import importlib.metadata as m, sys; print(*(m.version(name) for name in sys.argv[1:]))"


def described() -> dict[str, str]:
    """Cores, memory, system and servers."""
    postgresql, mysql = find_postgresql(), find_mysql()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "postgresql": (postgresql.kind if postgresql else "").split("PostgreSQL ")[-1],
        "mariadb": (mysql.kind if mysql else "").split(", ")[-1],
    }


def versions(peers: Path) -> dict[str, str]:
    """The version of each tool and of what it reads and writes with."""
    found = {tool.name: _version(tool, peers) for tool in TOOLS if tool.shown}
    said = subprocess.run(["psql", "--version"], capture_output=True, text=True, check=True).stdout
    return found | {"psql": said.split()[2]}


def code() -> str:
    """The commit of this checkout, with a plus sign where files differ from it."""
    here = Path(__file__).parent
    commit = _git("rev-parse", "--short=10", "HEAD", folder=here)
    return commit + ("+" if _git("status", "--porcelain", "--", ":/datapipe", folder=here) else "")


def _version(tool: Tool, peers: Path) -> str:
    python = tool.command(peers, "")[0] if tool.program.endswith(".py") else peers / tool.environment / "bin" / "python"
    done = subprocess.run([python, "-c", _ASK, *tool.shown], capture_output=True, text=True, check=False)
    if done.returncode:
        return "not installed"
    told = zip(tool.shown, done.stdout.split(), strict=True)
    return ", ".join(f"{name} {version}" for name, version in told)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _git(*arguments: str, folder: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip()
