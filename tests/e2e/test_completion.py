"""Completion in the shells themselves: what appears when Tab is pressed."""
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest
from stack import BIN

TYPED = [("corbel key", "corbel keys "), ("corbel keys cr", "corbel keys create "), ("corbel completion fi", "corbel completion fish "),
         ("corbel limits create --strat", "corbel limits create --strategy "),
         ("corbel limits create --strategy GC", "corbel limits create --strategy GCRA "),
         ("corbel plans list --output ya", "corbel plans list --output yaml "),
         ("corbel keys create --idem", "corbel keys create --idempotency-key ")]


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, argv, home):
        self.seen = ""
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execve(shutil.which(argv[0]), argv, {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home), "TERM": "dumb",
                                                    "PS1": "", "LC_ALL": "C.UTF-8"})

    def type(self, text):
        os.write(self.descriptor, text.encode())

    def until(self, pattern, timeout_s=60):
        """Waits for the pattern, and forgets everything up to it."""
        end = time.monotonic() + timeout_s
        while not (found := re.search(pattern, self.seen)):
            left = end - time.monotonic()
            assert left > 0, f"never saw {pattern!r} in {self.seen!r}"
            if select.select([self.descriptor], [], [], left)[0]:
                self.seen += os.read(self.descriptor, 4096).decode(errors="replace")
        self.seen = self.seen[found.end():]

    def close(self):
        os.close(self.descriptor)
        os.waitpid(self.pid, 0)


SHELLS = {"bash": (["bash", "--norc", "--noprofile", "-i"], ""), "zsh": (["zsh", "-f", "-i"], "unsetopt zle_bracketed_paste; ")}


@pytest.fixture(scope="module", params=SHELLS)
def terminal(request, tmp_path_factory):
    if not shutil.which(request.param):
        pytest.skip(f"no {request.param}")
    argv, setup = SHELLS[request.param]
    made = Terminal(argv, tmp_path_factory.mktemp("home"))
    made.type(f"{setup}source <(corbel completion {request.param}); echo rea''dy\n")
    made.until("ready")
    yield made
    made.close()


@pytest.mark.parametrize("typed,completed", TYPED, ids=[typed for typed, _ in TYPED])
def test_tab_completes_the_word(terminal, typed, completed):
    # The line becomes the arguments of echo, so what the shell made of it is seen whole.
    terminal.type(f"{typed}\t\x01echo '<'\x05'>'\n")
    # zsh takes the space behind a word back when something else than a word follows.
    terminal.until(f"\n<{re.escape(completed)}?>")


def test_fish_offers_the_words_of_the_contract():
    if not shutil.which("fish"):
        pytest.skip("no fish")
    script = subprocess.run([BIN / "corbel", "completion", "fish"], capture_output=True, text=True, check=True).stdout
    for typed, completed in TYPED:
        asked = f"{script}\ncomplete -C '{typed}'"
        offered = subprocess.run(["fish", "--no-config", "-c", asked], capture_output=True, text=True, check=True).stdout
        assert [line.split("\t")[0] for line in offered.splitlines()] == [completed.split()[-1]], typed


def test_scripts_are_good_in_the_eyes_of_their_shells():
    for shell in ("bash", "zsh", "fish"):
        if not shutil.which(shell):
            continue
        script = subprocess.run([BIN / "corbel", "completion", shell], capture_output=True, text=True, check=True).stdout
        checked = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
        assert checked.returncode == 0 and not checked.stderr, checked.stderr
    assert subprocess.run([BIN / "corbel", "completion", "tcsh"], capture_output=True).returncode == 2
