"""The command `evalpool`, and its live view for programs and notebooks."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.cli._main import main as main
    from evalpool.cli._serve import Server as Server
    from evalpool.cli._watch import LiveView as LiveView
    from evalpool.cli._watch import watch as watch

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "LiveView": "_watch",
        "Server": "_serve",
        "main": "_main",
        "watch": "_watch",
    },
)
