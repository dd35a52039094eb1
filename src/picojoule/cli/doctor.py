"""``picojoule doctor``: what can be measured here, what cannot, and what would mend it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from picojoule.cli import _terminal


def main(argv: Sequence[str]) -> int:
    """Show the findings; the exit status is 0 whatever they are."""
    parser = argparse.ArgumentParser(
        prog="picojoule doctor",
        description="Ask every meter whether it works here.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    args = parser.parse_args(argv)

    from picojoule._doctor import doctor

    found = doctor()
    _terminal.tolerate_encoding(sys.stdout)
    print(json.dumps(found.to_dict(), indent=2, allow_nan=False) if args.json else found)
    return 0
