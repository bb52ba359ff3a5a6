"""docs/ingress.md tells every option of the ingress, with its default."""
import pathlib
import re
import subprocess

from stack import BIN

PAGE = (pathlib.Path(__file__).parents[2] / "docs/ingress.md").read_text()


def documented():
    """{option: default} of the table of options."""
    found = {}
    for line in re.findall(r"^\| (`ingress\..*)$", PAGE, re.M):
        names, default = [cell.strip() for cell in line.split("|")[:2]]
        for name in re.findall(r"`(ingress\.\w+)`", names):
            found[name] = default.strip("`")
    return found


def real():
    text = subprocess.run([BIN / "ingress", "--help"], capture_output=True, text=True, check=True, timeout=20).stdout
    options = re.findall(r"^  --(ingress\.\w+).*\n(.*)$", text, re.M)
    return {name: (re.findall(r"\(default (.*)\)$", help) or [None])[0] for name, help in options}


def test_every_option_is_described_with_its_default():
    said, is_so = documented(), real()
    assert set(said) == set(is_so)
    for name, default in is_so.items():
        assert said[name] in ({default} if default else {"unset", "none"}), name
