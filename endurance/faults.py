"""What a machine can refuse: space, files, memory, permission, a sane clock."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from endurance.strikes import WORKER, victims

_KB = 1024
_MB = 1024 * _KB
_DROPPED = "--bounding-set=-dac_override,-dac_read_search"


class NotThisMachine(Exception):
    """The machine does not do what a fault needs of it."""


class Fault:
    """Something that a machine refuses while a command runs. ``always_works``: no
    command may end for it. ``needs_disk``: it is one of a disk of its own.
    ``is_heard``: what the command says reaches somebody.
    """

    name: str
    always_works = False
    needs_disk = False
    is_heard = True
    confirmation: Sequence[str] = ()

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    @contextlib.contextmanager
    def around(self, place: Path) -> Iterator[None]:
        """While the command runs in ``place``."""
        yield

    def argv(self, argv: Sequence[str]) -> list[str]:
        """The command as it is started."""
        return list(argv)

    def variables(self, place: Path) -> dict[str, str]:
        """What is added to its environment."""
        return {}

    def limit(self) -> None:
        """Called in the child, before the command is started."""

    def during(self, process: subprocess.Popen[bytes], place: Path) -> None:
        """Called once the command was started."""


class SmallDisk(Fault):
    """A file system of its own, in memory, that is full after a little more."""

    needs_disk = True
    most: int
    """How much more there is room for."""
    plenty: str
    """The option that makes room again."""

    @contextlib.contextmanager
    def around(self, place: Path) -> Iterator[None]:
        more = self.chance.randint(0, self.most)
        _remount(place, self.option(place, more))
        try:
            yield
        finally:
            _remount(place, self.plenty)

    def option(self, place: Path, more: int) -> str:
        """The option that leaves room for so much more than there is."""
        raise NotImplementedError


class FullDisk(SmallDisk):
    """The disk is full after some pages."""

    name = "full disk"
    most = 60
    plenty = "size=1g"

    def option(self, place: Path, more: int) -> str:
        return f"size={_used(place) + more * 4 * _KB}"


class NoMoreFiles(SmallDisk):
    """The disk has space, but can hold no more files."""

    name = "no more files on the disk"
    most = 40
    plenty = "nr_inodes=1000000"

    def option(self, place: Path, more: int) -> str:
        used = sum(1 for _ in place.rglob("*")) + 1
        return f"nr_inodes={used + more}"


class ReadOnly(Fault):
    """The disk is read-only, from the start or from some moment on."""

    name = "read-only disk"
    needs_disk = True
    _LATEST = 3.0

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.is_at_once = chance.random() < 0.3

    @contextlib.contextmanager
    def around(self, place: Path) -> Iterator[None]:
        if self.is_at_once:
            _remount(place, "ro")
        try:
            yield
        finally:
            _remount(place, "rw")

    def during(self, process: subprocess.Popen[bytes], place: Path) -> None:
        if self.is_at_once:
            return
        time.sleep(self.chance.uniform(0, self._LATEST))
        # A file that is open for writing is in the way for a moment.
        while process.poll() is None and not _can_remount(place, "ro"):
            time.sleep(0.001)


class NoPermission(Fault):
    """The folder is there, and its user may not write to it."""

    name = "no permission"

    @contextlib.contextmanager
    def around(self, place: Path) -> Iterator[None]:
        folders = [path for path in place.rglob("*") if path.is_dir()]
        closed = self.chance.sample([place, *folders], 1)
        for folder in closed:
            folder.chmod(0o555)
        try:
            yield
        finally:
            for folder in closed:
                folder.chmod(0o755)

    def argv(self, argv: Sequence[str]) -> list[str]:
        """To root nothing is refused, unless it gives that right away."""
        if os.geteuid() != 0:
            return list(argv)
        return ["setpriv", _DROPPED, "--inh-caps=-all", *argv]


class NoHome(NoPermission):
    """Neither settings, nor state, nor cache can be written: that a session is the
    user's own can only be confirmed later.
    """

    name = "unwritable home"
    confirmation = ("--trust-session",)

    @contextlib.contextmanager
    def around(self, place: Path) -> Iterator[None]:
        home = place / "home"
        home.mkdir()
        home.chmod(0o555)
        try:
            yield
        finally:
            home.chmod(0o755)
            home.rmdir()

    def variables(self, place: Path) -> dict[str, str]:
        home = str(place / "home")
        places = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
        return dict.fromkeys(places, home)


class FewDescriptors(Fault):
    """A process may have few open files."""

    name = "few open files"

    def limit(self) -> None:
        number = self.chance.randint(4, 40)
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))


class LittleMemory(Fault):
    """A worker gets little more memory than it has at some moment."""

    name = "little memory in a worker"

    def during(self, process: subprocess.Popen[bytes], place: Path) -> None:
        while process.poll() is None:
            for worker in victims(process.pid, WORKER):
                time.sleep(self.chance.uniform(0, 1))
                with contextlib.suppress(OSError, ProcessLookupError):
                    most = _memory_of(worker) + self.chance.randint(0, 64) * _MB
                    resource.prlimit(worker, resource.RLIMIT_AS, (most, most))
                return
            time.sleep(0.005)


class SmallFiles(Fault):
    """No file may be larger than some bytes, as a quota has it."""

    name = "limit of a file's size"

    def limit(self) -> None:
        most = self.chance.randint(0, 16 * _KB)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


class OtherPython(Fault):
    """The interpreter is told by ``sitecustomize`` that something is otherwise."""

    always_works = True
    code: str

    def variables(self, place: Path) -> dict[str, str]:
        folder = place / "site"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(self.code)
        return {"PYTHONPATH": str(folder)}


class ClockSetBack(OtherPython):
    """The clock jumps back a day, some moments after the start of each process."""

    name = "clock set back"

    @property
    def code(self) -> str:  # type: ignore[override]
        seconds = self.chance.uniform(0, 1)
        return (
            "import time\n"
            "real, begun = time.time, time.monotonic()\n"
            "def late():\n"
            f"    is_back = time.monotonic() - begun > {seconds}\n"
            "    return real() - 86400 * is_back\n"
            "time.time = late\n"
        )


class NoLocks(OtherPython):
    """A file system without locks and hard links, as some networks have."""

    name = "no locks and links"
    code = (
        "import errno, fcntl, os\n"
        "def refuse(*_, **__):\n"
        "    raise OSError(errno.ENOTSUP, 'Operation not supported')\n"
        "fcntl.flock = fcntl.lockf = os.link = refuse\n"
    )


class ClosedStreams(Fault):
    """Standard input, output and error are closed, some of them or all. What has data
    to write must say that it cannot, if it can say anything.
    """

    name = "closed streams"

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        count = chance.randint(1, 3)
        self.closed = chance.sample(range(3), count)
        self.is_heard = 2 not in self.closed

    def limit(self) -> None:
        for number in self.closed:
            os.close(number)


FAULTS: Sequence[type[Fault]] = (
    FullDisk,
    NoMoreFiles,
    ReadOnly,
    NoPermission,
    NoHome,
    FewDescriptors,
    LittleMemory,
    SmallFiles,
    ClockSetBack,
    NoLocks,
    ClosedStreams,
)


def _memory_of(pid: int) -> int:
    """Bytes of address space."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


def _used(folder: Path) -> int:
    """Bytes that a folder takes on the disk, whole pages a file."""
    used = 4 * _KB
    for path in folder.rglob("*"):
        size = path.lstat().st_size
        used += -(-size // (4 * _KB)) * 4 * _KB
    return used


@contextlib.contextmanager
def own_disk(place: Path) -> Iterator[None]:
    """``place`` is on a disk of its own, in memory, where such may be made."""
    place.mkdir()
    is_mounted = _mounts("-t", "tmpfs", "none", str(place))
    try:
        yield
    finally:
        if is_mounted:
            _run("umount", "-l", str(place))
        shutil.rmtree(place)


def can_have_disks(folder: Path) -> bool:
    """Whether this process may mount, as root may, and whoever has a namespace."""
    place = folder / "disk"
    place.mkdir()
    is_mounted = _mounts("-t", "tmpfs", "none", str(place))
    if is_mounted:
        _run("umount", "-l", str(place))
    place.rmdir()
    return is_mounted


def _remount(place: Path, options: str) -> None:
    _run("mount", "-o", f"remount,{options}", str(place))


def _can_remount(place: Path, options: str) -> bool:
    return _mounts("-o", f"remount,{options}", str(place))


def _mounts(*words: str) -> bool:
    done = subprocess.run(["mount", *words], capture_output=True, check=False)
    return done.returncode == 0


def _run(*argv: str) -> None:
    """Raises `NotThisMachine` where it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotThisMachine(f"{' '.join(argv)}: {done.stderr.strip()}")
