"""A command on a terminal of its own, as a person would use it."""

import fcntl
import os
import pathlib
import pty
import select
import struct
import subprocess
import termios
import time


class Terminal:
    """Runs a command on a pseudo-terminal; what it wrote so far is `text`."""

    def __init__(self, *command, columns=120, rows=40, **options):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        env = {**options.pop("env", os.environ), "TERM": "xterm-256color"}
        env.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=theirs, stdout=theirs, stderr=theirs, env=env, preexec_fn=take_terminal, start_new_session=True, **options
        )
        os.close(theirs)
        self.ours = ours
        self.bytes = b""

    @property
    def text(self) -> str:
        return self.bytes.decode(errors="replace")

    def read(self, seconds) -> bool:
        """Takes in what comes within this time; false when the other side is closed."""
        if not select.select([self.ours], [], [], seconds)[0]:
            return True
        try:
            new = os.read(self.ours, 65536)
        except OSError:
            return False
        self.bytes += new
        return bool(new)

    def until(self, words: str, seconds=120):
        """Waits until `words` were written."""
        deadline = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < deadline, f"{words!r} was not written:\n{self.text}"
            assert self.read(0.2) or words in self.text, f"{words!r} was never written:\n{self.text}"

    def type(self, keys: str):
        os.write(self.ours, keys.encode())

    def interrupt(self):
        """Ctrl-C."""
        self.type("\x03")

    def end(self, seconds=120) -> int:
        """Waits for the command's end; answers its exit code."""
        deadline = time.monotonic() + seconds
        while self.read(0.2) or self.process.poll() is None:
            if self.process.poll() is not None and not select.select([self.ours], [], [], 0.2)[0]:
                break
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
        code = self.process.wait(seconds)
        os.close(self.ours)
        return code


def take_terminal():
    """Makes standard input the controlling terminal, so that Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def processes_naming(folder) -> list[str]:
    """Command lines of living processes that name `folder`."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in command:
                found.append(command.replace(b"\0", b" ").decode())
    return found
