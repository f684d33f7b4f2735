"""A signal ends a command with one line, wherever it comes: also where C code makes
another error of it, or a finalizer drops it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.common import SAMPLE

AT_AN_IMPORT = """
import os, signal, sys
from logdrift.cli.main import main

where = sys.argv.pop(1)
count = 0

class Interrupting:
    def find_spec(name, path=None, target=None):
        global count
        count += 1
        if where in (name, str(count)):
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting)
code = main()
print("imports", count)
sys.exit(code)
"""


def _export(where: str, out: Path) -> subprocess.CompletedProcess[str]:
    """`logdrift export`, interrupted at the import of a module, or at the import of
    that number.
    """
    command = ["export", str(SAMPLE), "--to", "jsonl", "--out", str(out)]
    return subprocess.run(
        [sys.executable, "-c", AT_AN_IMPORT, where, *command],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("where", ["datetime", "numpy", "1", "20", "60", "100", "140"])
def test_an_interrupt_while_a_module_is_imported_is_an_interrupt(
    where: str, tmp_path: Path
) -> None:
    """NumPy imports `datetime` from C, and says that it cannot be imported."""
    done = _export(where, tmp_path / "out.jsonl")
    assert (done.returncode, done.stderr) == (130, "logdrift: interrupted\n")
    assert "imports" in done.stdout
    assert list(tmp_path.iterdir()) == []


def _run(block: str, *, number: str = "SIGTERM") -> str:
    """What is printed by ``block``, whose signal is ``number``."""
    program = textwrap.dedent(
        """
        import os, signal, time
        from logdrift.core.errors import InputError, LogdriftError
        from logdrift.core.interrupts import cancellable

        def signalled():
            os.kill(os.getpid(), signal.{number})

        def turned_into(error):
            try:
                signalled()
            except KeyboardInterrupt:
                raise error from None

        def heard():
            try:
                signalled()
            except KeyboardInterrupt:
                pass

        def inner():
            with cancellable((signal.{number},)):
                Finalized()

        class Finalized:
            def __del__(self):
                signalled()
                time.sleep(0.5)

        # A run of the tests in the background ignores some, and children inherit that.
        signal.signal(signal.{number}, signal.SIG_DFL)
        try:
            with cancellable((signal.{number},)):
        {block}
        except KeyboardInterrupt:
            print("interrupted")
        except Exception as error:
            print(type(error).__name__)
        else:
            print("done")
        """
    )
    inner = textwrap.indent(textwrap.dedent(block).strip(), " " * 8)
    done = subprocess.run(
        [sys.executable, "-c", program.format(number=number, block=inner)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("signalled()", "interrupted"),
        ("turned_into(ImportError('datetime'))", "interrupted"),
        ("turned_into(SystemError('raised unreported'))", "interrupted"),
        # What a command says of its own end, is what ended it.
        ("turned_into(LogdriftError('the disk is full'))", "LogdriftError"),
        # It was heard and dealt with: what fails later is a fault.
        ("heard(); raise TypeError('a fault')", "TypeError"),
        ("heard(); raise LogdriftError('disk')", "LogdriftError"),
        ("turned_into(TypeError('on the way out'))", "interrupted"),
        # Dropped at the end of an inner block, while the outer one goes on.
        ("inner(); time.sleep(30)", "interrupted"),
        # Nothing came: an error is what it is.
        ("raise ImportError('datetime')", "ImportError"),
        ("pass", "done"),
        ("Finalized(); time.sleep(30)", "interrupted"),
    ],
)
def test_a_signal_leaves_the_block_as_an_interrupt(
    number: str, block: str, said: str
) -> None:
    assert _run(block, number=number) == said


def test_a_module_that_is_told_to_be_missing_was_interrupted() -> None:
    block = """
    try:
        turned_into(ImportError("pyarrow"))
    except ImportError:
        raise InputError("needs pyarrow") from None
    """
    assert _run(block) == "interrupted"


def test_handlers_are_what_they_were_afterwards() -> None:
    from logdrift.core.interrupts import cancellable, interrupt, left_to_python

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    hook = sys.unraisablehook
    with cancellable(numbers):
        assert [signal.getsignal(number) for number in numbers] == [interrupt] * 2
        with left_to_python():
            # asyncio takes Ctrl-C over only from there.
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is interrupt
    assert [signal.getsignal(number) for number in numbers] == before
    assert sys.unraisablehook is hook


AT_A_CALL = """
import os, signal, sys
from logdrift.cli.main import main

count = 0
last = int(sys.argv.pop(1))

def look(frame, event, argument):
    global count
    if event == "call":
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGINT)

sys.setprofile(look)
code = main()
sys.setprofile(None)
print("calls", count)
sys.exit(code)
"""


@pytest.mark.parametrize("last", [2, 3, 5, 8, 12, 20, 40])
def test_an_interrupt_is_told_from_the_first_call_on(last: int) -> None:
    """While the streams are being replaced, handlers set, and the parser made."""
    done = subprocess.run(
        [sys.executable, "-c", AT_A_CALL, str(last), "keys"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (130, "logdrift: interrupted\n")
    assert "calls" in done.stdout


@pytest.mark.parametrize(
    ("before", "after"), [("default_int_handler", "SIG_DFL"), ("SIG_IGN", "SIG_IGN")]
)
def test_what_comes_behind_the_command_ends_it_without_a_word(
    before: str, after: str
) -> None:
    program = f"""
import signal, sys
from logdrift.cli.main import main
signal.signal(signal.SIGINT, signal.{before})
code = main()
assert signal.getsignal(signal.SIGINT) is signal.{after}
signal.raise_signal(signal.SIGINT)
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "keys"], capture_output=True, timeout=60
    )
    assert done.stderr == b""
    expected = 0 if after == "SIG_IGN" else -signal.SIGINT
    assert done.returncode == expected
