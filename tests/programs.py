"""Small programs in processes of their own."""

import subprocess
import sys

# Compiled code that lets other threads run, for hours.
BUSY = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
PATIENCE = 900  # seconds, after which a process hangs, however slow the machine


def started(program: str) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", program], **pipes)


def killed(program: str, number: int) -> subprocess.Popen:
    """A program that was sent a signal once it had printed a line."""
    process = started(program)
    process.stdout.readline()
    process.send_signal(number)
    try:
        process.wait(PATIENCE)
    finally:
        process.kill()
    return process
