"""One program hosts every service, so a name outside its file is a name for all of them."""
import collections
import os
import pathlib
import subprocess

BUILD = pathlib.Path(os.environ.get("CORBEL_BUILD", pathlib.Path(__file__).parents[2] / "build"))


def definitions():
    """(name, "library:object") of everything that a library of ours defines for others."""
    for library in sorted(BUILD.glob("lib*.a")):
        listed = subprocess.run(["nm", "--extern-only", "--defined-only", "--print-file-name", library],
                                capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines():
            place, _, symbol = line.split(maxsplit=2)
            yield symbol.split()[-1], ":".join(place.split("/")[-1].split(":")[:2])


def test_no_name_is_defined_twice():
    """The linker takes the first of two from static libraries, and says nothing."""
    found = collections.defaultdict(set)
    for name, place in definitions():
        found[name].add(place)
    assert len(found) > 1000
    assert {name: sorted(places) for name, places in found.items() if len(places) > 1} == {}
