"""The options of the ingress: described as they are, and refused when they are wrong."""
import pathlib
import re
import subprocess

import pytest
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


@pytest.mark.parametrize("option, value", [
    ("trusted_proxies", "10.0.0.0/33"), ("trusted_proxies", "somewhere"), ("forward_limits", "GET /x"),
    ("cors_origins", "https://app.example/"), ("cors_origins", "app.example"), ("tls_cert", "/only/one.pem"),
    ("forward_headers", "any"), ("key_ttl", "31s"), ("header_max", "1KiB"),
])
@pytest.mark.parametrize("program", [["ingress"], ["corbel", "serve"]], ids=["ingress", "serve"])
def test_a_wrong_value_is_named_before_anything_starts(tmp_path, program, option, value):
    checked = subprocess.run([BIN / program[0], *program[1:], f"--data={tmp_path}", "--check-config",
                              f"--ingress.{option}={value}"], capture_output=True, text=True, timeout=20)
    assert checked.returncode == 2
    assert f"ingress.{option}" in checked.stderr
