"""What a parameter of a notebook may be: a type, described as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from datapipe.secrets import names_secret

_SCALARS = ("int", "str", "float", "bool", "date", "datetime", "timedelta", "Decimal", "Path", "Any")
KNOWN = (*_SCALARS, "Literal", "Enum", "Optional", "Union", "list", "tuple", "set", "dict")
_REFERENCE = re.compile(r"secret:([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class Kind:
    """A type.

    Parameters
    ----------
    name : str
        ``int``, ``date``, ``list`` …; ``tuple`` is one of a fixed length, ``tuple...`` one of any length.
    of : tuple of Kind
        The types inside: a list's items, a dict's values, a tuple's places, a union's members.
    choices : tuple of (str, value)
        What a Literal or an Enum allows; the names of a Literal's choices are empty.
    label : str
        The name of an Enum's class.

    Examples
    --------
    >>> str(Kind("union", (Kind("list", (Kind("int"),)), Kind("None"))))
    'list[int] | None'
    """

    name: str
    of: tuple[Kind, ...] = ()
    choices: tuple[tuple[str, Any], ...] = ()
    label: str = ""

    def __str__(self) -> str:
        inner = ", ".join(map(str, self.of))
        match self.name:
            case "union":
                return " | ".join(map(str, self.of))
            case "Literal":
                return f"Literal[{', '.join(repr(value) for _, value in self.choices)}]"
            case "Enum":
                return self.label
            case "tuple...":
                return f"tuple[{inner}, ...]"
            case "tuple":
                return f"tuple[{inner or '()'}]"
            case "dict":
                return f"dict[str, {inner}]"
        return f"{self.name}[{inner}]" if inner else self.name

    @property
    def takes_none(self) -> bool:
        """Whether None is one of its values."""
        return (
            self.name in {"None", "Any"}
            or any(value is None for _, value in self.choices if self.name == "Literal")
            or (self.name == "union" and any(member.takes_none for member in self.of))
        )

    @property
    def holds_text(self) -> bool:
        """Whether it has a place for any text."""
        return self.name in {"str", "Any"} or any(inner.holds_text for inner in self.of)


ANY = Kind("Any")
FRAME = Kind("DataFrame")  # of an output alone
NONE = Kind("None")


def union(members: tuple[Kind, ...]) -> Kind:
    """The type of what is one of several; unions inside are taken apart.

    Examples
    --------
    >>> str(union((union((Kind("int"), NONE)), NONE, Kind("str"))))
    'int | None | str'
    """
    flat = [inner for member in members for inner in (member.of if member.name == "union" else (member,))]
    kinds = tuple(dict.fromkeys(flat))
    return ANY if ANY in kinds else kinds[0] if len(kinds) == 1 else Kind("union", kinds)


@dataclass(frozen=True)
class SecretRef:
    """A secret by its name, in place of the secret.

    Parameters
    ----------
    name : str
        The environment variable that holds it where the notebook runs.

    Examples
    --------
    >>> str(SecretRef("DB_PASSWORD"))
    'secret:DB_PASSWORD'
    """

    name: str

    def __str__(self) -> str:
        return f"secret:{self.name}"


@dataclass(frozen=True)
class EnumMember:
    """A member of an Enum that only the notebook has.

    Parameters
    ----------
    enum : str
        The name of the class.
    name : str
        The name of the member.
    value : Any
        What ``member.value`` is.
    """

    enum: str
    name: str
    value: Any


def secret_of(text: str) -> SecretRef | None:
    """The secret that a text refers to.

    Examples
    --------
    >>> secret_of("secret:DB_PASSWORD"), secret_of("a secret: no")
    (SecretRef(name='DB_PASSWORD'), None)
    """
    found = _REFERENCE.fullmatch(text)
    return SecretRef(found[1]) if found else None


def names_a_secret(name: str) -> bool:
    """Whether a name is one that people give to passwords and keys.

    Examples
    --------
    >>> [names_a_secret(name) for name in ("db_password", "apiKey", "API_TOKEN", "key", "tokenizer")]
    [True, True, True, False, False]
    """
    return names_secret(re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+", "_", name))
