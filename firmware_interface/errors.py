"""What can go wrong, split by who must act.

    Fault                 one line for a person, and its remedy; the command prints both
    ├── PacketError       the device's: one payload is malformed. Counted, skipped, never fatal
    ├── RadioError        the person's: no adapter, no permission, no device in reach
    ├── DescriptionError  the person's: names the line; exit code 2           (codecs.described)
    ├── RecordingError    the person's: a file that cannot be read as a recording     (monitor.recording)
    ├── StoreError        the person's: data folder in use, read-only, full, damaged  (monitor.database)
    ├── ReportError       the person's: a report that cannot be written               (monitor.cli_report)
    ├── TableError        the person's: no table of tallies or triggers               (monitor.correlation.files)
    ├── DiaryError        the person's: an entry that cannot be understood; exit code 2   (monitor.diary)
    ├── ExperimentError   the person's: one that must not be made; exit code 2     (monitor.correlation.experiment)
    ├── ServiceError      the person's: this system cannot be told to start us        (monitor.service)
    ├── SinkError         the person's, or nobody's: a server took not all            (monitor.outbox)
    ├── ExportError       the person's: what cannot be exported as asked              (monitor.export.source)
    ├── StudyError        the person's: what their study does not allow               (monitor.study)
    ├── StorageError      the person's: a folder or bucket not to be read or written  (monitor.cohort.storage)
    ├── ClusterError      the person's: no workers, or they are gone                  (monitor.cohort.cluster)
    ├── ParquetError      the person's: pyarrow is missing, or a table damaged        (monitor.parquet)
    ├── SimulationError   the person's: a cohort that cannot be written               (monitor.cli_simulate)
    └── ConfigError       the person's: a wrong key or value; names it; exit code 2   (monitor.config)

Rule: every message is one line, says what happened with the value that did it, and the remedy says what
to do next. A subclass lives in the module that raises it.
"""

from __future__ import annotations

from typing import ClassVar


class Fault(Exception):
    """Base of every error that a person may see.

    Args:
        message: what happened, one line, no full stop.
        remedy: what to do about it, one line.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.args[0]}. {self.remedy}" if self.remedy else str(self.args[0])


class PacketError(Fault):
    """A payload that its codec cannot read. Raised by `decode`; nothing else ever is."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "")


class RadioError(Fault):
    """The radio cannot be used, or a device cannot be reached."""
