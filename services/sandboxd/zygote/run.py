"""One run of a plugin, in a child that does nothing else before or after.

What the plugin can do to this module or to the interpreter harms its own run only: the child ends with it.
"""
import ast
import builtins
import codecs
import datetime
import importlib
import json
import random
import sys
import warnings
from importlib.machinery import PathFinder

import _corbel
import corbel_check

# enum runner_outcome
OK, INVALID_CODE, RUNTIME_ERROR, MEMORY_LIMIT, OUTPUT_LIMIT, NOT_JSON = 0, 1, 2, 4, 6, 8

RECURSION_MAX = 1000
TRACEBACK_FRAMES_MAX = 40

ALLOWED = corbel_check.ALLOWED
# What the interpreter itself imports in a program's name, depending on its version: for strptime(), for long integers
# as text. Programs that name them are refused by the check.
IMPLICIT = frozenset({"_strptime", "_pylong"})
CODECS = """
utf-8 utf-8-sig utf-7 utf-16 utf-16-le utf-16-be utf-32 utf-32-le utf-32-be ascii latin-1 iso8859-2 iso8859-15 cp437
cp850 cp1250 cp1251 cp1252 koi8-r unicode_escape raw_unicode_escape idna punycode hex base64 quopri rot13 zlib
""".split()
SAMPLE = (b"import json\ndef process(data):\n    print(len(data))\n    return {'sum': sum(data['n'])}\n", "sample.py",
          b'{"n": [1, 2.5]}', False, False, 1000)

real_import = builtins.__import__
dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Output:
    """What print() writes to: the run's log."""
    encoding = "utf-8"
    write = _corbel.log

    def writelines(self, lines):
        for line in lines:
            _corbel.log(line)

    def flush(self):
        pass

    def isatty(self):
        return False


def allowed_import(name, globals=None, locals=None, fromlist=(), level=0):
    """Modules that the zygote has loaded; others would have to be opened, which the kernel answers with death."""
    wanted = {name} if name in ALLOWED else {f"{name}.{item}" for item in fromlist or ("",)}
    if level or not (wanted <= ALLOWED or name in IMPLICIT):
        raise ImportError(f"import of {name!r} is not allowed")
    return real_import(name, globals, locals, fromlist, 0)


def refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


loads = json.JSONDecoder(parse_constant=refuse_constant).decode


def trimmed_builtins():
    names = dict(vars(builtins))
    for name in (*corbel_check.FORBIDDEN_NAMES, "exit", "quit", "copyright", "credits", "license"):
        names.pop(name, None)
    names["__import__"] = allowed_import
    return names


def text_of(exception):
    """Type and message; what cannot be had of them is left out."""
    name, text = "exception", ""
    try:
        name = type(exception).__name__
        text = str(exception)
    except MemoryError:
        raise
    except BaseException:
        pass
    return f"{name}: {text}" if text else name


def traceback_of(exception, file_name, source):
    """The plugin's own frames, formatted as Python does, without opening a file."""
    lines = source.split("\n")
    shown, trace = [], exception.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == file_name:
            number = trace.tb_lineno or 0
            shown.append(f'  File "{file_name}", line {number}, in {code.co_name}')
            if 0 < number <= len(lines):
                shown.append("    " + lines[number - 1].strip())
        trace = trace.tb_next
    if not shown:
        return ""
    if len(shown) > 2 * TRACEBACK_FRAMES_MAX:
        half = TRACEBACK_FRAMES_MAX & ~1
        left_out = (len(shown) - 2 * half) // 2
        shown[half:-half] = [f"  ... {left_out} more frames ..."]
    return "\n".join(["Traceback (most recent call last):", *shown, text_of(exception)])


def syntax_violation(error):
    return (getattr(error, "lineno", 0) or 0, getattr(error, "offset", 0) or 0,
            getattr(error, "msg", None) or text_of(error), "")


def invalid(violations):
    line, column, reason, _ = violations[0]
    place = f"line {line}, column {column}: " if line else ""
    return INVALID_CODE, place + reason, "", None, violations


def prepare(code, file_name, is_unchecked):
    """(source, code object, violations)"""
    _corbel.compiling(True)
    try:
        source = code.decode("utf-8-sig")
        tree = ast.parse(source, file_name)
        violations = [] if is_unchecked else corbel_check.check(tree)
        return source, (None if violations else compile(tree, file_name, "exec")), violations
    except SyntaxError as error:
        return None, None, [syntax_violation(error)]
    except UnicodeDecodeError as error:
        return None, None, [(0, 0, f"the code is not UTF-8: {error.reason}", "save the file as UTF-8")]
    except ValueError as error:  # NUL characters
        return None, None, [(0, 0, str(error), "")]
    except (RecursionError, MemoryError):  # the parser's stack has an end, and says so by the second
        return None, None, [(0, 0, "the code is nested too deeply, or too large, for the compiler", "split it up")]
    finally:
        _corbel.compiling(False)


def execute(program, context, names):
    names["context"] = context
    exec(program, names)
    process = names.get("process")
    if "result" not in names and callable(process):
        return process(names["context"])
    return names.get("result")


def to_json(value, output_bytes):
    try:
        text = dumps(value).encode("utf-8")
    except MemoryError:
        raise
    except Exception as error:
        return NOT_JSON, f"the result is not JSON: {text_of(error)}", "", None, ()
    if len(text) > output_bytes:
        return OUTPUT_LIMIT, f"the result has {len(text)} bytes as JSON, allowed are {output_bytes}", "", None, ()
    return OK, "", "", text, ()


def attempt(code, file_name, context, is_validation, is_unchecked, output_bytes):
    source, program, violations = prepare(code, file_name, is_unchecked)
    if violations:
        return invalid(violations)
    if is_validation:
        return OK, "", "", b"null", ()
    module = sys.modules["plugin"] = type(sys)("plugin")  # dataclasses and typing look for a class's module
    names = vars(module)
    names["__builtins__"] = vars(builtins) if is_unchecked else trimmed_builtins()
    try:
        value = execute(program, loads(context.decode("utf-8")), names)
        return to_json(value, output_bytes)
    except MemoryError:
        raise
    except BaseException as error:
        return RUNTIME_ERROR, text_of(error), traceback_of(error, file_name, source), None, ()


def run(*request):
    """(outcome, message, traceback, result or None, violations)"""
    try:
        return attempt(*request)
    except MemoryError:
        _corbel.release_reserve()
        return MEMORY_LIMIT, "the memory limit was reached", "", None, ()


def begin_child():
    """What a fork inherits and no two runs may share; and the pages that any run writes to, copied while the child waits."""
    random.seed()
    run(*SAMPLE)
    sys.modules.pop("plugin", None)


def ignore_unraisable(info):
    """Python's own hook looks for source files."""
    _corbel.log(f"ignored: {getattr(info.exc_type, '__name__', 'exception')}\n")


def warm():
    """Everything that is loaded on first use, before nothing can be loaded any more."""
    for name in sorted(ALLOWED):
        importlib.import_module(name)
    for name in IMPLICIT:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # another version of the interpreter
    for codec in CODECS:
        codecs.lookup(codec)
    datetime.datetime.strptime("2000-01-01", "%Y-%m-%d").astimezone().strftime("%A")
    sys.setrecursionlimit(RECURSION_MAX)
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    sys.stdin, sys.stdout, sys.stderr = None, Output(), Output()
    sys.__stdin__ = sys.__stdout__ = sys.__stderr__ = None
    sys.unraisablehook = ignore_unraisable
    sys.excepthook = lambda *_: None
    # Nothing is looked for on disk: what is not there is not found, instead of being the end.
    sys.path[:] = sys.path_hooks[:] = []
    sys.path_importer_cache.clear()
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not PathFinder]
    # The paths of a plugin's ordinary run have been walked once, so that a child does not have to.
    for _ in range(20):
        run(*SAMPLE)
        run(b"1 / 0", "sample.py", b"{}", False, True, 1000)
        run(b"import os\nx = ().__class__", "sample.py", b"{}", True, False, 1000)
