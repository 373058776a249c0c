"""Requests made of the OpenAPI document, and what must be so of every answer to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode

# What an answer must be, whatever was asked: no failure of the server, and documented: status, type, headers, schema.
NAMES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
OPEN = frozenset({"GET /health"})


@dataclass
class Fuzz:
    """Asks every operation of a server, and keeps what it finds.

    Parameters
    ----------
    schema : schemathesis schema
    key : str
        An API key.
    known : mapping of str to list of mapping
        By operation, requests that are right: ``path_parameters``, ``query``, ``body``.
    ids : mapping of str to str
        What paths may name that there is, by the name of its place.
    call : mapping
        Further arguments of each call.
    """

    schema: Any
    key: str
    known: Mapping[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)
    answers: dict[str, Counter[int]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def operations(self) -> Iterator[Any]:
        for result in self.schema.get_all_operations():
            yield result.ok()

    def run(self, examples: int, only: str = "") -> None:
        """Ask every operation so many times with what is right and with what is wrong; each without a key, too."""
        for operation in self.operations():
            if only in operation.label:
                self._known(operation)
                for mode in MODES:
                    self._made(operation, mode, examples)
                while sum(self.answers[operation.label].values()) < 2 * examples:  # it takes too little to vary
                    self._ask(operation.Case(**self.known.get(operation.label, [{}])[0]))

    def _known(self, operation: Any) -> None:
        for given_ in self.known.get(operation.label, []):
            self._ask(operation.Case(**given_))

    def _made(self, operation: Any, mode: GenerationMode, examples: int) -> None:
        strategy = operation.as_strategy(generation_mode=mode)

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def asked(data: st.DataObject) -> None:
            case = data.draw(strategy)
            for name in set(self.ids) & set(case.path_parameters or {}):
                if data.draw(st.booleans()):
                    case.path_parameters[name] = self.ids[name]
            self._ask(case)

        with suppress(Unsatisfiable):  # nothing can be wrong about what takes nothing
            asked()

    def _ask(self, case: Any) -> None:
        label = case.operation.label
        answer = case.call(headers={"Authorization": f"Bearer {self.key}"}, **self.call)
        self.answers.setdefault(label, Counter())[answer.status_code] += 1
        checks = [check for check in CHECKS.get_all() if check.__name__ in NAMES]
        try:
            case.validate_response(answer, checks=checks)
        except BaseException as error:  # a group of failures is no Exception
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            self.findings.append(f"{label}: {answer.status_code}\n{error}")
        bare = case.call(headers={"Authorization": "Bearer nothing"}, **self.call)
        self.answers.setdefault(f"{label} without a key", Counter())[bare.status_code] += 1
        if bare.status_code < 300 and label not in OPEN:
            self.findings.append(f"{label} without a key: {bare.status_code}")

    def without_success(self) -> list[str]:
        """The operations that have never answered that all is well."""
        return [
            operation.label
            for operation in self.operations()
            if not any(200 <= status < 300 for status in self.answers.get(operation.label, ()))
        ]


def of_app(app: Any, key: str) -> Any:
    """The schema of an application in this process."""
    return schemathesis.openapi.from_asgi(
        "/openapi.json", app, headers={"Authorization": f"Bearer {key}", "Host": "localhost"}
    )


def of_url(url: str, key: str) -> Any:
    """The schema of a server."""
    return schemathesis.openapi.from_url(f"{url}/openapi.json", headers={"Authorization": f"Bearer {key}"})
