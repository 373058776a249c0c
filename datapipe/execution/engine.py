"""papermill's engine: the same execution, with the truth about every cell."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, NotebookExecutionManager, papermill_engines

from datapipe.execution.kernels import GuardedKernelManager, channels
from datapipe.execution.session import Session
from datapipe.notebooks.cells import codes

NAME = "datapipe"
_IOPUB = 60  # seconds that the last outputs of a cell may take; papermill gives up after 4
_LOOK = 2  # seconds between two looks at a busy cell's outputs
# The threads that a kernel's user has started and that are at work, as an expression for the kernel.
_THREADS = (
    "[t.name for t in __import__('threading').enumerate() if not t.daemon and t is not __import__('threading')"
    ".main_thread() and not t.name.startswith(('ThreadPoolExecutor', 'asyncio_'))]"
)


class Manager(NotebookExecutionManager):  # type: ignore[misc]  # papermill has no types
    """papermill's record of an execution; when it is saved is the session's to decide."""

    def __init__(self, nb: Any, session: Session) -> None:
        super().__init__(nb, output_path=None, progress_bar=False, autosave_cell_every=_LOOK)
        self._session = session

    def save(self, **_: Any) -> None:
        """Called by papermill at every change, and now and then while a cell has outputs."""
        self._session.changed(self.nb)
        self.last_save_time = self.now()


class Client(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
    """Executes the cells one after the other, and notes what the kernel says about each."""

    session: Session

    def papermill_execute_cells(self) -> None:
        """Execute cells until one fails, the kernel dies, or the notebook or somebody else ends it."""
        for number, index in enumerate(codes(self.nb.cells), 1):
            if self.session.is_over:
                return
            cell = self.nb.cells[index]
            self.session.cell_began(number)
            self.nb_man.cell_start(cell, index)
            try:
                self._execute(cell, index, number)
            finally:
                self.nb_man.cell_complete(self.nb.cells[index], cell_index=index)
        if not self.session.is_over:
            self._note_threads()

    def _execute(self, cell: Any, index: int, number: int) -> None:
        try:
            self.execute_cell(cell, index)
        except CellExecutionError:
            self.session.cell_raised(number)
        except DeadKernelError:
            self.session.kernel_died(number, self.km.exit_code)
        else:
            self.session.cell_done(number)

    def _note_threads(self) -> None:
        """What is still at work when the last cell has ended, ends with the kernel: say so."""
        with suppress(Exception):  # a kernel of another language
            message = self.kc.execute("", silent=True, user_expressions={"threads": _THREADS})
            found = self.wait_for_reply(message)["content"]["user_expressions"]["threads"]["data"]["text/plain"]
            if found != "[]":
                self.session.note(f"threads of the notebook were stopped with its kernel: {found.strip('[]')}")

    def process_message(self, message: Mapping[str, Any], *rest: Any) -> Any:
        """Take what a cell shows; outputs of the job are among it."""
        if message["msg_type"] == "display_data":
            self.session.displayed(message["content"].get("data") or {})
        return super().process_message(message, *rest)


class DatapipeEngine(Engine):  # type: ignore[misc]  # papermill has no types
    """The engine of this name."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, *, session: Session, **_: Any) -> Any:
        """Execute a notebook whose parameters are injected."""
        manager = Manager(nb, session)
        manager.notebook_start()
        try:
            cls.execute_managed_notebook(manager, kernel_name, session=session)
        finally:
            manager.notebook_complete()
        return manager.nb

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, *, session: Session) -> None:
        """Start the kernel, execute the cells, and end the kernel with all it has started."""
        scratch = session.order.scratch
        connection = {"connection_file": f"{scratch}/kernel.json", **channels(scratch)}  # gone with the folder
        manager = GuardedKernelManager(kernel_name=kernel_name, **connection)
        manager.launched = session.launched
        client = Client(
            nb_man,
            km=manager,
            startup_timeout=session.order.start_timeout,
            timeout=None,
            iopub_timeout=_IOPUB,
            raise_on_iopub_timeout=False,
            coalesce_streams=False,  # nbclient's takes hours for a line of a megabyte: see streams.py
            shell_timeout_interval=1,  # how soon the death of a kernel between two cells is noticed
        )
        client.session, client.owns_km = session, True
        client.on_cell_executed = session.replied
        try:
            client.execute(cwd=session.order.folder, env=session.kernel_environment())
        except (RuntimeError, NoSuchKernel) as error:  # a dead kernel, which is known already, or one that never began
            session.not_started(error, manager.exit_code)
        finally:
            session.kernel_over()


papermill_engines.register(NAME, DatapipeEngine)
