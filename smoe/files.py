"""Files that are whole or not there: written beside, flushed to the disk, renamed."""

import math
import os
import tempfile
from pathlib import Path

__all__ = ["finite", "write_whole"]


def write_whole(path, data):
    """Write a file so that, whatever happens, there is the old content or the new one and nothing between.

    Parameters
    ----------
    path : str or path-like
        A link keeps pointing where it does; what is not a regular file, such as a pipe, is written as it is.
    data : bytes

    Raises
    ------
    OSError
        The file cannot be written; what was there stays.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from smoe.files import write_whole
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "numbers.json"
    ...     write_whole(path, b"[1, 2]")
    ...     path.read_text()
    '[1, 2]'
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, _mode(path))
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    _sync_folder(path.parent)


def _mode(path):
    """Return the permissions of the file that is there, or those that a new one gets."""
    if path.exists():
        return path.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder):
    """Flush the new name to the disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError:  # a file system without it
        pass
    finally:
        os.close(handle)


def finite(value):
    """Replace NaN and infinities, which JSON has not, by None."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
