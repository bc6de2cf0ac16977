"""Batch systems and their machines: the end of an allocation, devices, CPUs, subprocesses."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.batch._deadline import Deadline as Deadline
    from evalpool.batch._deadline import stops_on_sigterm as stops_on_sigterm
    from evalpool.batch._devices import visible_devices as visible_devices
    from evalpool.batch._subprocess import parse_subprocess_result as parse_subprocess_result

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Deadline": "_deadline",
        "parse_subprocess_result": "_subprocess",
        "stops_on_sigterm": "_deadline",
        "visible_devices": "_devices",
    },
)
