"""Files that hold no text: each is recognised, and answered with how to convert it.

Nothing is ever unpickled here: a pickle runs code when it is loaded. Dumps of torch are
read by torch's restricted reader, in an interpreter of their own
(`logdrift.core.capture.torch_dumps`).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from logdrift.core.session.importers.compressed import open_text
from logdrift.core.session.importers.place import in_file

_ZIP = b"PK\x03\x04"
_MAGIC = ((b"\x93NUMPY", "an array of NumPy"),)
_PARQUET = b"PAR1"
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
EXPORT = (
    "write token ids and log-probabilities as jsonl where the file was made"
    " (docs/import.md, From a trainer)"
)


def refuse_binary(path: Path) -> None:
    """Raise InputError for a file that holds no text, and say how to convert it; one
    that cannot be read is ignored. Of a compressed file that is what is in it.
    """
    try:
        with open_text(path) as file:
            start = file.read(8)
    except OSError:
        return
    place = in_file(path)
    if start.startswith(_ZIP) and is_torch_archive(path):
        raise place.error(
            "is a dump of torch.save",
            "import it as slime, where slime or miles wrote it; else write token ids"
            " and log-probabilities as jsonl where the file was made (docs/import.md,"
            " From a trainer)",
        )
    if start.startswith(_PICKLES):
        raise place.error(
            "is a pickle, which runs code when it is loaded, so it is not opened",
            EXPORT,
        )
    if start.startswith(_PARQUET):
        raise place.error(
            "is a parquet file",
            "import it as miles, where miles' dashboard wrote it; else convert it to"
            " jsonl (docs/import.md)",
        )
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            remedy = "unpack or convert it to jsonl first (docs/import.md)"
            raise place.error(f"is {kind}, not JSON", remedy)
    if start.startswith(_ZIP):
        raise place.error("is a zip archive, not JSON", "unpack it first")


def is_torch_archive(path: Path) -> bool:
    """Whether a file is what ``torch.save`` writes: a zip archive with a pickle."""
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return False
    for name in names:
        _, _, file = name.rpartition("/")
        if file == "data.pkl":
            return True
    return False
