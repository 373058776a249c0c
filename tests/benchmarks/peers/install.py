"""Make the peers' virtual environments: python -m tests.benchmarks.peers.install FOLDER"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from .tools import TOOLS, Tool


def install(tool: Tool, folder: Path) -> None:
    """One environment, with the newest releases that the tool's bounds allow."""
    place = folder / tool.environment
    if not (place / "bin" / "python").exists():
        venv.create(place, with_pip=True)
    subprocess.run(
        [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--upgrade", *tool.packages], check=True
    )
    for binary in place.glob("lib/python3*/site-packages/sling_linux_amd64/bin/sling-linux-amd64"):
        binary.chmod(0o755)
        link = place / "bin" / binary.name
        link.unlink(missing_ok=True)
        link.symlink_to(binary)


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    for tool in TOOLS:
        if tool.packages:
            print(f"{tool.name}: {', '.join(tool.packages)}", flush=True)
            install(tool, Path(sys.argv[1]).resolve())


if __name__ == "__main__":
    main()
