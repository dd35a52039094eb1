"""What is raised where the data cannot carry an answer."""

from __future__ import annotations

from picojoule.errors import PicojouleError


class Refusal(PicojouleError):  # noqa: N818 - an answer, more than an error
    """No answer, and why: too few points, no scores, beyond what was seen.

    Attributes:
        reason: one sentence for the reader of a report.
    """

    def __init__(self, reason: str) -> None:
        """Refuse for ``reason``."""
        super().__init__(reason)
        self.reason = reason
