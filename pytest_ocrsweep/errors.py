"""Every error that this package raises on purpose; the plugin catches them once, and so does the command line.

OcrsweepError
├── ArgumentError       an argument of the command line
├── ConfigError         a setting
│   └── ConfigFileError  a project's own file of settings, or the folder of such files
├── SourceError         what to sweep: its words, or a YAML file
│   └── ShapesError     a database of shapes
├── ImageError          the image of a page
├── CheckpointError     a snapshot of real weights
├── BaselineError       a file of recorded numbers or times
├── ReportError         a report that cannot be read, written, compared or made
├── ResultFileError     a file of another tool's serving figures
├── ProfileError        a file of measured lines
├── CalibrationError    a GPU whose times nothing is known of, or a calibration that cannot be made or read
├── PlanError           pages that a device cannot serve
├── MeasureError        what keeps a point from being measured
│   ├── OutOfMemory     this point only
│   ├── DeviceLost      this point and all that follow
│   ├── NoLine          an operation that is no line of the ledger
│   └── EngineError     an engine that is not the reference model: this load only
│       └── EngineLost  this load and all that follow
├── SideError           a side of a comparison of revisions that measures nothing
└── ColumnOverflow      a number that 64 bits do not hold
"""

from __future__ import annotations

from typing import Self


class OcrsweepError(ValueError):
    """One line that says what is wrong and where; `hint`, printed after it, says what to do.

    The message ends with the mark that goes before a hint: `OcrsweepError("a.json: not JSON;", hint="restore it")`.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(f"{message} {hint}" if hint else message)
        self.message, self.hint = message, hint

    def at(self, where: str) -> Self:
        """The same error, with the option or file that it is about before it."""
        return type(self)(f"{where}: {self.message}", self.hint)


class ArgumentError(OcrsweepError):
    """An argument of the command line that does not fit."""


class ConfigError(OcrsweepError):
    """Which option, what was given, what it takes."""


class ConfigFileError(ConfigError):
    """Which file or folder of the project's own settings, what is wrong with it, what to do."""


class SourceError(OcrsweepError):
    """A sweep source that cannot be understood."""


class ShapesError(SourceError):
    """A shapes database that cannot be read, chosen from or written."""


class ImageError(OcrsweepError):
    """A page image whose size cannot be read."""


class CheckpointError(OcrsweepError):
    """A snapshot that is damaged or holds another model: one line a problem."""


class BaselineError(OcrsweepError):
    """Which file of baselines, where in it, what is wrong, what to do."""


class ReportError(OcrsweepError):
    """A report that cannot be read, written, compared or made: which one, what is wrong with it, what to do."""


class ResultFileError(OcrsweepError):
    """A file that another tool wrote of a server, and that cannot be taken: which one, why, what to do."""


class ProfileError(OcrsweepError):
    """A file of measured lines that cannot be read."""


class CalibrationError(OcrsweepError):
    """A GPU without a calibration, or a calibration that cannot be made or read."""


class PlanError(OcrsweepError):
    """What does not fit, and what would."""


class MeasureError(OcrsweepError):
    """What keeps a point from being measured."""


class OutOfMemory(MeasureError):
    """The device's memory did not hold the point, and holds nothing of it any more."""


class DeviceLost(MeasureError):
    """The device no longer answers this process."""


class NoLine(MeasureError):
    """An operation of the reference model that is no line of the ledger, or a line without an operation."""


class EngineError(MeasureError):
    """Which interpreter or server, what it did; `requests` are those that it had finished."""

    requests: tuple[object, ...] = ()

    def at(self, where: str) -> Self:
        error = super().at(where)
        error.requests = self.requests
        return error


class EngineLost(EngineError):
    """An engine that cannot be started, or that answers no more: nothing of it is left running."""


class SideError(OcrsweepError):
    """Which side, why it measures nothing, and on further lines the end of what it printed."""


class ColumnOverflow(OcrsweepError, OverflowError):
    """A number that 64 bits do not hold: which, and at which point."""
