"""The declarative transformation: its form, and how older forms become the current one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from datapipe.errors import PlanError
from datapipe.plan.values import FrozenDict, Names, decode_each, encode_each

VERSION = 1


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Columns = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class TransformConfig(BaseModel):
    """What a declarative step does. The order is fixed, whatever the order of the keys.

    First ``filter`` and ``add_columns``, which see the input columns under their input names; then ``group_by``
    with ``aggregations``; then ``select``, ``drop``, ``rename``, ``cast`` (added columns are kept after a select);
    then ``distinct``, ``sort``, ``limit``.

    Examples
    --------
    >>> TransformConfig.model_validate({"rename": {"name": "full_name"}}).rename
    {'name': 'full_name'}
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    select: Columns = ()
    rename: Names = Field(default_factory=FrozenDict)
    cast: Names = Field(default_factory=FrozenDict)
    filter: str | Annotated[dict[str, Any], AfterValidator(decode_each), PlainSerializer(encode_each)] | None = None
    add_columns: Names = Field(default_factory=FrozenDict)
    drop: Columns = ()
    group_by: Columns = ()
    aggregations: Names = Field(default_factory=FrozenDict)
    distinct: bool = False
    sort: Columns = ()
    limit: int | None = Field(default=None, ge=0)
    version: int = VERSION

    @model_validator(mode="before")
    @classmethod
    def _migrate(cls, data: Any) -> Any:
        return migrate(data) if isinstance(data, Mapping) else data


def _from_0(data: dict[str, Any]) -> dict[str, Any]:
    """Version 0 wrote ``field_mappings`` (new name: old name), ``filters`` and ``computed``."""
    if "field_mappings" in data:
        data["rename"] = {old: new for new, old in data.pop("field_mappings").items()}
    if "filters" in data:
        data["filter"] = data.pop("filters")
    if "computed" in data:
        data["add_columns"] = data.pop("computed")
    return data


MIGRATIONS: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (_from_0,)


def migrate(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same transformation in the current form.

    Raises
    ------
    PlanError
        If the form is newer than this library.

    Examples
    --------
    >>> migrate({"version": 0, "field_mappings": {"full_name": "name"}})
    {'version': 1, 'rename': {'name': 'full_name'}}
    """
    current = dict(data)
    version = current.get("version", VERSION)
    if not isinstance(version, int) or not 0 <= version <= VERSION:
        raise PlanError(
            f"version {version!r} of the transformation is not known",
            hint=f"This library reads 0 to {VERSION}",
        )
    for step in MIGRATIONS[version:]:
        current = step(current)
    if "version" in current:
        current["version"] = VERSION
    return current
