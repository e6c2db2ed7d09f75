"""Every error a person can cause or mend, each with its exit code.

RecsysError                     1  a bug of ours, if it is raised bare
├── SettingError                2  wrong setting or usage
├── DataRefusedError            3  input data refused
├── ArtefactError               4
│   ├── MissingArtefactError       nothing of that name
│   ├── BrokenArtefactError        changed, cut or surplus since it was published
│   └── OldLayoutError             made by a version with another layout
├── GateError                   5  the result is below what was asked for
├── DivergedError               5  training left the rails
├── NoRoomError                 6  no disk or memory
├── DeviceError                 6  the device asked for is not there, or a disk refused
├── PortTakenError              6
├── UnknownMemberError          2
├── UnknownSaleError            2
└── InterruptedRunError         130 or 143, state saved
"""

from __future__ import annotations

from typing import ClassVar


class RecsysError(Exception):
    """What is wrong and where, what was found or is possible, what to do: at most five lines."""

    code: ClassVar[int] = 1

    def __init__(self, what: str, *more: str) -> None:
        """Join the first line with lines indented by two spaces below it."""
        super().__init__("\n".join([what, *(f"  {line}" for line in more)]))


class SettingError(RecsysError):
    """A setting is unknown, out of bounds or contradicts another."""

    code = 2


class DataRefusedError(RecsysError):
    """The input tables break the data contract beyond what the settings allow."""

    code = 3


class ArtefactError(RecsysError):
    """A folder that should hold an artefact cannot be used."""

    code = 4


class MissingArtefactError(ArtefactError):
    """No artefact of that name is there."""


class BrokenArtefactError(ArtefactError):
    """A file of the artefact was changed, cut, added or removed after it was published."""


class OldLayoutError(ArtefactError):
    """The artefact was made by a version with another layout."""


class GateError(RecsysError):
    """The result is below the gate that the settings ask for."""

    code = 5


class DivergedError(RecsysError):
    """Training produced too many steps without a finite loss."""

    code = 5


class NoRoomError(RecsysError):
    """The disk or the memory does not hold what is about to be made."""

    code = 6


class DeviceError(RecsysError):
    """The device asked for is not on this machine, or a disk refused."""

    code = 6


class PortTakenError(RecsysError):
    """Another process listens on the port."""

    code = 6


class UnknownMemberError(RecsysError):
    """The member is not in the bundle or dataset."""

    code = 2


class UnknownSaleError(RecsysError):
    """The sale is not in the bundle or dataset."""

    code = 2


class InterruptedRunError(RecsysError):
    """A signal asked the run to stop; what it had is saved."""

    def __init__(self, what: str, *more: str, signal_code: int = 130) -> None:
        """Keep the exit code of the signal: 130 for Ctrl-C, 143 for SIGTERM."""
        super().__init__(what, *more)
        self.signal_code = signal_code
