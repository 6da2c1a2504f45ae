"""One family of errors: what was found, what was expected, what to do about it."""


class CohortsegError(Exception):
    """Base of every error that a user can act on.

    Each subclass is also a builtin error (ValueError, FileNotFoundError, ...), so that callers who do not
    know cohortseg still catch what they expect to.

    Parameters
    ----------
    found
        What is wrong, naming the file, sample or key it was found in.
    expected
        What would have been right, with the legal values where they can be listed.
    remedy
        What the user can do now, as a sentence.
    """

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"{found}; {expected}. {remedy}")

    def __str__(self) -> str:
        return str(self.args[0])


class SettingsError(CohortsegError, ValueError):
    """A key or value of a config file or a command-line option is not allowed."""


class SampleSheetError(CohortsegError, ValueError):
    """The sample sheet has faults; the message lists all of them with their rows."""


class MissingFileError(CohortsegError, FileNotFoundError):
    """A file that was named does not exist."""


class MissingExtraError(CohortsegError, ImportError):
    """An optional library is not installed that an image or an export needs; the remedy names its extra."""


class ImageError(CohortsegError, ValueError):
    """An image cannot be read: damaged, of an unknown format, or of an unsupported shape."""


class ChannelError(CohortsegError, ValueError):
    """A channel that was asked for is not in the image."""


class CheckpointError(CohortsegError, ValueError):
    """A network checkpoint is damaged, or of another architecture than the one asked for."""


class DownloadError(CohortsegError, OSError):
    """A file could not be downloaded, or is not what it should be."""


class DeviceError(CohortsegError, RuntimeError):
    """A device that was asked for is not there, or has run out of memory."""


class TableError(CohortsegError, ValueError):
    """A table or label store made earlier is damaged, or lacks a column that is needed."""


class StackError(CohortsegError, ValueError):
    """The planes of a 3D stack do not fit together."""


class ArchiveError(CohortsegError, ValueError):
    """Something that is to be packed lies elsewhere, or is a link."""


class StorageError(CohortsegError, OSError):
    """A result cannot be written: the disk is full, a quota is used up, or the folder is write-protected."""
