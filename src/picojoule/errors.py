"""Exceptions of picojoule.

PicojouleError
├── UsageError            the call cannot mean anything (also a ValueError)
├── NoMeterError          a meter was asked for by name and is not here
├── NotFinishedError      a result was asked for that does not exist yet
├── MissingExtraError     an optional package is not installed (also an ImportError)
├── LedgerError           the ledger of runs cannot be read or written
│   ├── NewerLedgerError      a newer picojoule made it
│   └── LedgerBusyError       others kept it locked for too long
└── TraceError            a trace cannot be read or written
    ├── TruncatedTraceError   it ends in the middle of something
    ├── ForeignTraceError     it is not a picojoule trace at all
    └── NewerTraceError       a newer picojoule wrote it
"""

from __future__ import annotations


class PicojouleError(Exception):
    """Base of all errors that picojoule raises on purpose."""


class UsageError(PicojouleError, ValueError):
    """The call cannot mean anything: an absurd rate, an unknown format, a profile re-entered."""


class NoMeterError(PicojouleError):
    """A meter was asked for by name and does not work here; the message says why and the remedy."""


class NotFinishedError(PicojouleError):
    """A result was asked for that does not exist yet."""


class MissingExtraError(PicojouleError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        """Say that ``purpose`` needs ``package``, which ``picojoule[extra]`` installs."""
        super().__init__(
            f"{purpose} needs {package}, which is not installed. "
            f"Install it with: pip install 'picojoule[{extra}]'"
        )


class LedgerError(PicojouleError):
    """The ledger of runs cannot be read or written."""


class NewerLedgerError(LedgerError):
    """A newer picojoule made the ledger, with a schema that this one does not know."""


class LedgerBusyError(LedgerError):
    """Other processes kept the ledger locked for too long."""


class TraceError(PicojouleError):
    """A trace cannot be read or written."""


class TruncatedTraceError(TraceError):
    """A trace ends in the middle of something and nothing of use is left."""


class ForeignTraceError(TraceError):
    """The path is not a picojoule trace."""


class NewerTraceError(TraceError):
    """The trace was written by a newer picojoule, in a format this one does not know."""
