"""Tensors of safetensors files, read when they are asked for, never mapped.

A mapped file that becomes shorter ends the process with SIGBUS, and leaves a terminal
raw. Reading costs a copy of what is asked for, a millisecond for the log-probabilities
of a million tokens, and gives one line instead.
"""

from __future__ import annotations

import contextlib
import math
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.session.files import open_regular, parse_json

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

DTYPES = {
    "F32": np.float32,
    "F64": np.float64,
    "I32": np.int32,
    "I64": np.int64,
    "U8": np.uint8,
}
"""By their names in a header; nothing else stands in a session."""
_LENGTH_BYTES = 8
"""In front of a header: how many bytes it has, little-endian."""
_MAX_HEADER = 1 << 20
_MAX_DIMENSIONS = 8
_LARGEST = 1 << 48
"""Of a dimension: far above all files, and the product of two fits an int."""


class FileStamp(NamedTuple):
    """What changes when a file is replaced or written to."""

    size: int
    modified: int
    inode: int
    device: int

    @classmethod
    def of(cls, descriptor: int) -> FileStamp:
        status = os.fstat(descriptor)
        return cls(
            size=status.st_size,
            modified=status.st_mtime_ns,
            inode=status.st_ino,
            device=status.st_dev,
        )


class OpenFile:
    """A file that is read again and again. It is kept open, so that it can be read
    after its folder was renamed or deleted, unless very many are open already: a
    session may have more parts than a process may have descriptors.
    """

    _kept: int | None = None  # of the class: Ctrl-C may come before all else

    def __init__(self, path: Path) -> None:
        self.path = path
        descriptor = _open(path)
        self.stamp = FileStamp.of(descriptor)
        if len(_open_files) < _MOST_OPEN:
            _open_files.add(self)
            self._kept = descriptor
        else:
            os.close(descriptor)

    def __del__(self) -> None:
        if self._kept is not None:
            os.close(self._kept)

    @contextlib.contextmanager
    def descriptor(self) -> Iterator[int]:
        """To read from, at any place. Raises InputError where the file is gone, or not
        the one that was opened.
        """
        if self._kept is None:
            descriptor = _open(self.path)
        else:
            descriptor = self._kept
        try:
            if FileStamp.of(descriptor) != self.stamp:
                raise InputError(
                    "has changed since it was opened: open the session again",
                    file=self.path,
                )
            yield descriptor
        except OSError as error:
            raise InputError(
                f"cannot be read: {error.strerror}", file=self.path
            ) from None
        finally:
            if self._kept is None:
                os.close(descriptor)


_MOST_OPEN = 256
"""A quarter of what a process may have open on most systems; the rest is opened for
each reading.
"""
_open_files: weakref.WeakSet[OpenFile] = weakref.WeakSet()


class StoredTensor:
    """A tensor in a file: ``tensor[start:stop]`` reads these rows.

    ``shape`` and ``dtype`` are those of the file's header, ``start`` is the tensor's
    first byte in the file.
    """

    def __init__(
        self, file: OpenFile, dtype: Any, shape: tuple[int, ...], start: int
    ) -> None:
        self.file = file
        self.dtype = dtype
        self.shape = shape
        self.start = start

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, rows: slice) -> Array:
        """These rows, read-only. Raises InputError where the file is gone, shorter, or
        another one by now.
        """
        first, stop, step = rows.indices(len(self))
        assert step == 1
        count = max(0, stop - first)
        _, *row_shape = self.shape
        shape = (count, *row_shape)
        out = np.empty(shape, self.dtype)
        self.read_into(out, first)
        out.flags.writeable = False
        return out

    def read_into(self, out: Array, first: int) -> None:
        """Fill ``out``, which is contiguous, with the rows from ``first`` on. Raises as
        `__getitem__` does.
        """
        if not out.nbytes:
            return
        row_shape = self.shape[1:]
        row_bytes = math.prod(row_shape) * out.itemsize
        start = self.start + first * row_bytes
        flat = out.reshape(-1)
        target = flat.view(np.uint8).data
        with self.file.descriptor() as descriptor:
            missing = _fill(descriptor, target, start)
            if missing:
                raise InputError(
                    "has become shorter: open the session again", file=self.file.path
                )


class Renumbered:
    """A tensor of places in a list, as places in another one: ``numbers[place]``; -1
    stays -1.
    """

    dtype = np.dtype(np.int32)

    def __init__(self, tensor: StoredTensor, numbers: Sequence[int]) -> None:
        self._tensor = tensor
        self._most = len(numbers) - 1
        # What -1 refers to is the last entry.
        self._numbers = np.array([*numbers, -1], np.int32)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._tensor.shape

    def __len__(self) -> int:
        return len(self._tensor)

    def __getitem__(self, rows: slice) -> Array:
        """These rows. Raises InputError for a place outside the list."""
        places = self._tensor[rows]
        limits = (-1, self._most)
        _check_range(places, limits, self._tensor.file.path)
        renumbered: Array = self._numbers[places]
        return renumbered


Limits = tuple[float, float]
"""The lowest and the highest finite number that is possible."""
Rows: TypeAlias = "Array | StoredTensor | Renumbered"
"""The rows of one part."""


class Column:
    """One tensor of a capture or of the sequences, over all parts: ``rows`` for a
    slice, ``whole`` for everything.

    ``before_read`` raises InputError where a part is known to be damaged. ``within``:
    what a finite number may be; a part with another one is refused when it is read.
    """

    def __init__(
        self,
        parts: Sequence[Rows],
        before_read: Callable[[], None] | None = None,
        within: Limits | None = None,
    ) -> None:
        self.parts = parts
        self._within = within
        lengths = [len(part) for part in parts]
        self.starts = np.cumsum([0, *lengths])
        self._before_read = before_read

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def width(self) -> int:
        """Entries of a row; 0 where there is no part."""
        if not self.parts:
            return 0
        _, width = self.parts[0].shape
        return int(width)

    def rows(self, start: int, stop: int) -> Array:
        """Rows ``start:stop``, read now or cut from what was read whole."""
        self._check()
        if "_whole" in self.__dict__:
            return self._whole[start:stop]
        behind = np.searchsorted(self.starts, start, "right")
        index = int(behind) - 1
        if index >= len(self.parts):
            return self._joined(start, stop)
        part_start = int(self.starts[index])
        part_stop = int(self.starts[index + 1])
        if stop > part_stop:
            return self._joined(start, stop)
        part = self.parts[index]
        first = start - part_start
        last = stop - part_start
        return self._cut(part, first, last)

    def whole(self) -> Array:
        """All rows, read once and kept."""
        self._check()
        return self._whole

    @cached_property
    def _whole(self) -> Array:
        count = len(self)
        if len(self.parts) == 1:
            (part,) = self.parts
            return self._cut(part, 0, count)
        return self._joined(0, count)

    def _cut(self, part: Rows, start: int, stop: int) -> Array:
        """Some rows of one part. Raises InputError for a number that none of this kind
        can be.
        """
        rows = part[start:stop]
        if self._within is None:
            return rows
        if isinstance(part, StoredTensor):
            _check_range(rows, self._within, part.file.path)
        return rows

    def _check(self) -> None:
        if self._before_read is not None:
            self._before_read()

    def _joined(self, start: int, stop: int) -> Array:
        """Rows over several parts in one array, without a second copy of them."""
        if not self.parts:
            raise InputError("nothing of this capture is there yet")
        stop = min(stop, len(self))
        count = max(0, stop - start)
        dtypes = [part.dtype for part in self.parts]
        dtype = np.result_type(*dtypes)
        _, *row_shape = self.parts[0].shape
        shape = (count, *row_shape)
        joined = np.empty(shape, dtype)
        part_starts = self.starts.tolist()
        for part, part_start in zip(self.parts, part_starts, strict=False):
            first = max(0, start - part_start)
            last = min(len(part), stop - part_start)
            if first >= last:
                continue
            rows = self._cut(part, first, last)
            at = part_start + first - start
            joined[at : at + len(rows)] = rows
        joined.flags.writeable = False
        return joined


def _check_range(rows: Array, within: Limits, path: Path) -> None:
    """Raise InputError for a finite number, or +inf, that is not ``within``."""
    low, high = within
    with np.errstate(invalid="ignore"):
        is_low = rows < low
        is_high = rows > high
        is_low &= rows != -np.inf
    bad = is_low | is_high
    if bad.any():
        first = rows[bad][0]
        raise InputError(
            f"holds {first:g} where a number from {low:g} to {high:g} is expected",
            file=path,
        )


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file, by its header alone, which takes a fraction of
    a millisecond.

    Raises InputError in one line for anything that is not a whole, well-formed file.
    """
    file = OpenFile(path)
    tensors = {}
    try:
        with file.descriptor() as descriptor:
            size = file.stamp.size
            for entry in _header(descriptor, size):
                tensors[entry.name] = StoredTensor(
                    file=file,
                    dtype=entry.dtype,
                    shape=entry.shape,
                    start=entry.start,
                )
    except ValueError as error:
        raise InputError(f"not a whole safetensors file: {error}", file=path) from None
    return tensors


def read_tensors(path: Path) -> dict[str, Array]:
    """Every tensor of a safetensors file, read-only. Raises InputError as
    `stored_tensors` does.
    """
    tensors = {}
    for name, tensor in stored_tensors(path).items():
        tensors[name] = _whole(tensor)
    return tensors


def _whole(tensor: StoredTensor) -> Array:
    if tensor.ndim:
        return tensor[:]
    out = np.empty((), tensor.dtype)
    tensor.read_into(out, 0)
    return out


def _open(path: Path) -> int:
    try:
        return open_regular(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None


def _fill(descriptor: int, target: memoryview, start: int) -> int:
    """Fill ``target`` from the file; how many bytes are missing."""
    done = 0
    while done < len(target):
        rest = target[done:]
        count = os.preadv(descriptor, [rest], start + done)
        if count == 0:
            break
        done += count
    return len(target) - done


class _HeaderEntry(NamedTuple):
    """One tensor by the header: its bytes ``start`` to ``end``, counted in the file."""

    name: str
    dtype: Any
    shape: tuple[int, ...]
    start: int
    end: int


def _header(descriptor: int, size: int) -> list[_HeaderEntry]:
    """The tensors of a file of ``size`` bytes, in their order there. Raises
    ValueError.
    """
    length_bytes = os.pread(descriptor, _LENGTH_BYTES, 0)
    length = int.from_bytes(length_bytes, "little")
    largest = min(_MAX_HEADER, size - _LENGTH_BYTES)
    if size < _LENGTH_BYTES or length > largest:
        raise ValueError("its header does not fit the file")
    text = os.pread(descriptor, length, _LENGTH_BYTES)
    header = parse_json(text)
    if not isinstance(header, dict):
        raise ValueError("its header is not an object")
    header.pop("__metadata__", None)
    base = _LENGTH_BYTES + length
    entries = []
    for name, described in header.items():
        entry = _entry(name, described, base)
        entries.append(entry)
    entries.sort(key=lambda entry: (entry.start, entry.end))
    _check_gaps(entries, base, size)
    return entries


def _check_gaps(entries: Sequence[_HeaderEntry], base: int, size: int) -> None:
    """Raise ValueError where tensors overlap, or leave bytes of the file out.

    The format wants each byte in exactly one tensor: what overlaps would show one
    number as another.
    """
    expected = base
    for entry in entries:
        if entry.start != expected:
            at = entry.start - base
            raise ValueError(
                f"tensor {entry.name[:40]!r} begins at byte {at} of the"
                f" data, not at {expected - base}"
            )
        expected = entry.end
    if expected != size:
        raise ValueError(f"it has {size:,} bytes, its header lists {expected:,}")


def _entry(name: str, entry: Any, base: int) -> _HeaderEntry:
    """One tensor; its data are counted from the byte ``base``. Raises ValueError."""
    where = f"tensor {name[:40]!r}"
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where} is not an object")
    dtype = _dtype(entry, where)
    shape = _shape(entry, where)
    offsets = _sizes(entry.get("data_offsets"))
    if offsets is None or len(offsets) != 2:
        raise ValueError(f"the offsets of {where} are not two sizes")
    nonzero = [max(1, size) for size in shape]
    if math.prod(nonzero) > _LARGEST:
        raise ValueError(f"the shape of {where} is larger than any file")
    start, end = offsets
    expected_bytes = math.prod(shape) * dtype.itemsize
    if end - start != expected_bytes:
        raise ValueError(f"{where} does not fit its bytes")
    return _HeaderEntry(
        name=name, dtype=dtype, shape=shape, start=base + start, end=base + end
    )


def _dtype(entry: Mapping[str, Any], where: str) -> np.dtype[Any]:
    code = entry.get("dtype")
    if isinstance(code, str) and code in DTYPES:
        return np.dtype(DTYPES[code])
    known = ", ".join(DTYPES)
    raise ValueError(f"the dtype of {where} is not one of {known}")


def _shape(entry: Mapping[str, Any], where: str) -> tuple[int, ...]:
    shape = _sizes(entry.get("shape"))
    if shape is None or len(shape) > _MAX_DIMENSIONS:
        raise ValueError(f"the shape of {where} is not a list of sizes")
    return shape


def _sizes(values: Any) -> tuple[int, ...] | None:
    """A list of sizes; None for anything else."""
    if not isinstance(values, list):
        return None
    if not all(map(_is_size, values)):
        return None
    return tuple(values)


def _is_size(value: Any) -> bool:
    if type(value) is not int:
        return False
    return 0 <= value <= _LARGEST
