"""Write what the demo really printed into README.md: `python docs/tables.py RUN`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
DEMO = re.compile(r"(<!-- demo:start -->\n).*?(<!-- demo:end -->)", re.DOTALL)


def main(run: Path) -> None:
    """Put the run's log.txt between the markers."""
    log = (run / "log.txt").read_text(encoding="utf-8").rstrip()
    text = README.read_text(encoding="utf-8")
    body = f"```\n$ make demo\n{log}\n```\n"
    README.write_text(DEMO.sub(lambda found: f"{found[1]}{body}{found[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
