"""The static check of a plugin: early and friendly errors.

It is no part of the confinement, which is the kernel's: whoever gets past it meets that. It walks the syntax
tree without recursion and executes nothing, inside the child that would run the plugin, so what it may use is
bounded like a run.
"""
import ast
import re

# What a plugin may import. The zygote imports all of it when it starts, as nothing can be opened later.
ALLOWED = frozenset("""
__future__ abc array base64 binascii bisect calendar cmath collections collections.abc colorsys contextlib copy dataclasses
datetime decimal difflib enum fractions functools hashlib heapq hmac html itertools json math numbers operator
random re secrets statistics string struct textwrap time typing unicodedata urllib.parse zlib
""".split())

VIOLATIONS_MAX = 50
HINT_TEXT_MAX = 60

FORBIDDEN_NAMES = {
    "exec": "write the code into the plugin itself",
    "eval": "use json.loads() for data, or the operator module",
    "compile": "write the code into the plugin itself",
    "open": "pass data in `context`; there are no files",
    "__import__": "use an import statement",
    "globals": "keep values in variables or a dictionary of your own",
    "locals": "keep values in variables or a dictionary of your own",
    "vars": "keep values in variables or a dictionary of your own",
    "input": "pass data in `context`",
    "breakpoint": "use print(); it goes to the run's log",
    "help": "there is nobody to read it",
}
# Dunder names that ordinary classes call or read.
ALLOWED_DUNDERS = frozenset({"__init__", "__name__", "__doc__", "__post_init__"})
FRAME_ATTRIBUTES = re.compile(r"(?:gi|cr|ag|tb|f)_(?:frame|code|back|globals|locals|builtins|next)|co_code|func_globals")
FORMAT_DUNDER = re.compile(r"\{[^{}]*\.__\w+__")


def is_dunder(name):
    return len(name) > 4 and name.startswith("__") and name.endswith("__")


class Checker:
    def __init__(self):
        self.violations = []
        self.modules = set()

    def add(self, node, reason, hint=""):
        if len(self.violations) < VIOLATIONS_MAX:
            column = getattr(node, "col_offset", -1) + 1
            self.violations.append((getattr(node, "lineno", 0), column, reason, hint))

    def check_import(self, node, module):
        if module in ALLOWED:
            return
        known = sorted(name for name in ALLOWED if name.partition(".")[0] == module.partition(".")[0])
        hint = "allowed are: " + ", ".join(known or sorted(ALLOWED))
        self.add(node, f"import of {module[:HINT_TEXT_MAX]!r} is not allowed", hint)

    def visit_import(self, node):
        for alias in node.names:
            self.check_import(node, alias.name)
            self.modules.add(alias.asname or alias.name.partition(".")[0])

    def visit_from(self, node):
        if node.level:
            self.add(node, "relative imports have nothing to refer to", "a plugin is one file")
            return
        if f"{node.module}.{node.names[0].name}" not in ALLOWED or len(node.names) > 1:
            self.check_import(node, node.module)
        for alias in node.names:
            if alias.name.startswith("_"):
                self.add(node, f"{alias.name[:HINT_TEXT_MAX]!r} is private to {node.module!r}", "use its public names")

    def visit_name(self, node):
        if node.id in FORBIDDEN_NAMES:
            self.add(node, f"{node.id}() is not allowed", FORBIDDEN_NAMES[node.id])
        elif is_dunder(node.id) and node.id not in ALLOWED_DUNDERS:
            self.add(node, f"the name {node.id[:HINT_TEXT_MAX]!r} is not allowed", "it leads into the interpreter")

    def visit_attribute(self, node):
        name = node.attr
        if is_dunder(name) and name not in ALLOWED_DUNDERS:
            self.add(node, f"the attribute {name[:HINT_TEXT_MAX]!r} is not allowed", "it leads into the interpreter")
        elif FRAME_ATTRIBUTES.fullmatch(name):
            self.add(node, f"the attribute {name!r} is not allowed", "it reads the interpreter's frames")
        elif name.startswith("_") and isinstance(node.value, ast.Name) and node.value.id in self.modules:
            self.add(node, f"{name[:HINT_TEXT_MAX]!r} is private to its module", "use the module's public names")

    def visit_constant(self, node):
        text = node.value
        if isinstance(text, str) and (is_dunder(text) and text not in ALLOWED_DUNDERS or FORMAT_DUNDER.search(text)):
            self.add(node, "the text names an attribute that is not allowed", "attributes like __class__ lead into the interpreter")


VISITORS = {
    ast.Import: Checker.visit_import,
    ast.ImportFrom: Checker.visit_from,
    ast.Name: Checker.visit_name,
    ast.Attribute: Checker.visit_attribute,
    ast.Constant: Checker.visit_constant,
}


def check(tree):
    """Violations of a syntax tree as (line, column, reason, hint), in the order of the text."""
    checker = Checker()
    nodes = list(ast.walk(tree))
    for node in nodes:  # first, as a name may be used above the line that binds it
        if isinstance(node, ast.Import):
            checker.visit_import(node)
    for node in nodes:
        visit = VISITORS.get(type(node))
        if visit and not isinstance(node, ast.Import):
            visit(checker, node)
    return sorted(checker.violations)
