"""Defines the form that the data of each kind of event must have when it is read from a store that anyone may have
written.

There is one validator for each kind, compiled by pydantic; it takes about a microsecond per event. Nothing is converted
and nothing is executed: an event that does not have this form is not a record of evalpool. Fields that are not named
here, and failure kinds that `FailureKind` does not list, come from a later version. They are kept, and the rest of the
record is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import NotRequired, TypedDict

from evalpool.outcomes import FINAL, FailureKind, JobStatus
from evalpool.storage._events import LARGEST

__all__ = ["TEXT_VALIDATORS", "VALIDATORS"]

_strict = with_config(ConfigDict(strict=True, extra="allow", allow_inf_nan=False))

# Made from the enumerations, so that each text is defined once.
if TYPE_CHECKING:
    _Status: TypeAlias = str
    _Final: TypeAlias = str
    _Kind: TypeAlias = str
else:
    _Status = Literal[tuple(status.name for status in JobStatus)]
    _Final = Literal[tuple(status.name for status in JobStatus if status in FINAL)]
    _Kind = Literal[tuple(kind.value for kind in FailureKind)]
# Whole numbers that every store, and every program that reads JSON, keeps exactly.
_Number = Annotated[int, Field(ge=0, le=LARGEST)]
_Attempt = Annotated[int, Field(ge=1, le=LARGEST)]
# Up to thirty million years: differences and sums of such times are finite.
_Time = Annotated[float, Field(ge=-1e15, le=1e15)]
# A float, or a whole number in the range of floats.
_Budget: TypeAlias = Annotated[int, Field(ge=-(10**308), le=10**308)] | float


@_strict
class _SearchFacts(TypedDict):
    start: _Time
    schema: _Number


@_strict
class _LeaseFacts(TypedDict):
    owner: str
    expires: _Time


@_strict
class _OptionFacts(TypedDict, total=False):
    priority: Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
    job_timeout: Annotated[float, Field(ge=0, le=1e15)] | None
    tags: list[str]


@_strict
class _Created(TypedDict, total=False):
    args: Any
    kwargs: dict[str, Any] | None
    submit: _Time | None
    owner: str | None
    options: _OptionFacts | None


@_strict
class _In(TypedDict):
    args: Any
    kwargs: dict[str, Any] | None


@_strict
class _Started(TypedDict, total=False):
    start: _Time | None
    attempt: _Attempt
    worker: str | None
    host: str | None
    pid: _Number | None
    owner: str


@_strict
class _Recorded(TypedDict):
    budget: _Budget
    objective: Any
    attempt: NotRequired[_Attempt]
    owner: NotRequired[str]


@_strict
class _Finished(TypedDict, total=False):
    status: _Final
    objective: Any
    output: Any
    error: str | None
    kind: _Kind | str | None
    metadata: dict[str, Any] | None
    attempts: _Number
    attempt_errors: list[str] | None
    stopped_early: bool | None
    timestamp_submit: _Time | None
    timestamp_start: _Time | None
    timestamp_end: _Time | None
    timestamp_gather: _Time | None
    worker: str | None
    host: str | None
    pid: _Number | None
    owner: str | None
    attempt: _Attempt


@_strict
class _Queued(TypedDict):
    attempt: _Attempt
    owner: NotRequired[str | None]


@_strict
class _Gathered(TypedDict):
    timestamp_gather: _Time | None


@_strict
class _Out(TypedDict):
    out: Any


@_strict
class _StatusOf(TypedDict):
    status: _Status


_FORMS: dict[str, Any] = {
    "search": _SearchFacts,
    "lease": _LeaseFacts,
    "value": dict[str, Any],
    "created": _Created,
    "in": _In,
    "started": _Started,
    "recorded": _Recorded,
    "finished": _Finished,
    "queued": _Queued,
    "gathered": _Gathered,
    "out": _Out,
    "status": _StatusOf,
    "metadata": dict[str, Any],
}
_COMPILED = {kind: TypeAdapter(form).validator for kind, form in _FORMS.items()}

VALIDATORS: dict[str, Any] = {kind: compiled.validate_python for kind, compiled in _COMPILED.items()}
"""For each kind of event, a function that returns the data or raises `pydantic.ValidationError`."""

TEXT_VALIDATORS: dict[str, Any] = {kind: compiled.validate_json for kind, compiled in _COMPILED.items()}
"""For each kind of event, a function that takes the data as JSON text, in the time of parsing it.

It accepts NaN and Infinity as values of any type, and refuses text that is not valid UTF-16."""
