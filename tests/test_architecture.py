"""The house rules, read from the source: who may import whom, and what no file may do."""

from __future__ import annotations

import ast
import fnmatch
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "tfseg": ROOT / "tfseg",
    "tfseg_export": ROOT / "export/tfseg_export",
    "tfseg_serving": ROOT / "serving/tfseg_serving",
}

# A unit may import units of earlier rows, and itself; never one of its own row or a later one.
LAYERS = (
    (
        "tfseg.__init__",
        "tfseg.errors",
        "tfseg.locks",
        "tfseg.compiled",
        "tfseg.strict_json",
        "tfseg.arrays",
        "tfseg.progress",
    ),
    (
        "tfseg.cli.console",
        "tfseg.files",
        "tfseg.geometry",
        "tfseg.steps",
        "tfseg.quiet",
        "tfseg.parallel",
        "tfseg.layout",
        "tfseg.fingerprint",
        "tfseg.workers",
        "tfseg.augmentation",
    ),
    ("tfseg.volume", "tfseg.plan", "tfseg.runs"),
    ("tfseg.artifact", "tfseg.config"),
    ("tfseg.io", "tfseg.preprocess"),
    ("tfseg.datasets",),
    ("tfseg.pipeline", "tfseg.layers"),
    ("tfseg.models", "tfseg.losses", "tfseg.metrics", "tfseg.compat"),
    ("tfseg.inference", "tfseg.planning", "tfseg.schemes"),
    ("tfseg.training",),
    ("tfseg.evaluation",),
    ("tfseg.report",),
    # The command line reaches the other two by name only; they share its console with it.
    ("tfseg.cli", "tfseg_export", "tfseg_serving"),
    ("tfseg.__main__",),
)
RANK = {unit: rank for rank, row in enumerate(LAYERS) for unit in row}

# Modules that are about TensorFlow from the first line to the last. All others import it, if
# at all, inside the function that needs it: it takes seconds.
TENSORFLOW_MODULES = (
    "tfseg/compat/addons/*",
    "tfseg/layers/*",
    "tfseg/losses/*",
    "tfseg/models/backbones/*",
    "tfseg/models/*net*.py",
    "tfseg/models/*fcn*.py",
    "tfseg/models/*cnn.py",
    "tfseg/models/autocontext.py",
    "tfseg/models/cascade.py",
    "tfseg/models/cfun.py",
    "tfseg/models/detect_then_segment.py",
    "tfseg/models/gcn.py",
    "tfseg/models/han_dcnn25d.py",
    "tfseg/models/deeplab*.py",
    "tfseg/models/detector.py",
    "tfseg/models/encoded.py",
    "tfseg/models/ensemble.py",
    "tfseg/models/pixelbnn.py",
    "tfseg/models/same_size.py",
    "tfseg/models/u_shape.py",
    "tfseg/models/unpooling.py",
    "tfseg/pipeline/streams.py",
    "tfseg/schemes/base.py",
    "tfseg/schemes/detection*.py",
    "tfseg/schemes/learner.py",
    "tfseg/schemes/supervised.py",
    "tfseg/training/*",
    "tfseg/inference/backends/keras_run.py",
    "tfseg/inference/backends/savedmodel.py",
    "export/tfseg_export/*",
    "serving/tfseg_serving/servable.py",
    "serving/tfseg_serving/grpc_front.py",
)
HEAVY = {"tensorflow", "keras", "tensorflow_serving"}

MAX_LINES = 450


@functools.cache
def sources() -> dict[str, ast.Module]:
    """Path relative to the repository -> syntax tree, for every source file."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for folder in PACKAGES.values()
        for path in sorted(folder.rglob("*.py"))
    }


def module_name(path: str) -> str:
    """Dotted name of a source file; a package's own file ends in ``__init__``."""
    parts = Path(path).with_suffix("").parts
    return ".".join(parts if parts[0] == "tfseg" else parts[1:])


def unit_of(module: str) -> str:
    """The unit of :data:`LAYERS` that a module belongs to."""
    if module in {"tfseg", "tfseg.__init__"}:
        return "tfseg.__init__"
    if module.startswith("tfseg.cli.console"):
        return "tfseg.cli.console"
    parts = module.split(".")
    return parts[0] if parts[0] != "tfseg" else ".".join(parts[:2])


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield (imported module, line); names imported from a package count as its modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level, node.lineno
            elif node.module in {"tfseg", "tfseg.cli"}:
                for alias in node.names:
                    submodule = (ROOT / node.module.replace(".", "/") / alias.name).exists() or (
                        ROOT / node.module.replace(".", "/") / f"{alias.name}.py"
                    ).exists()
                    yield f"{node.module}.{alias.name}" if submodule else node.module, node.lineno
            else:
                yield node.module or "", node.lineno


def top_level(tree: ast.Module) -> ast.Module:
    """The statements that run on import: not those in functions or under TYPE_CHECKING."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node):
            return None

        def visit_If(self, node):
            return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)

    return Strip().visit(ast.parse(ast.unparse(tree)))


def test_every_unit_has_a_layer():
    units = {unit_of(module_name(path)) for path in sources()}
    assert units <= set(RANK), "add it to LAYERS, where it belongs"


@pytest.mark.parametrize("path", sources())
def test_arrows_go_one_way(path):
    unit = unit_of(module_name(path))
    wrong = []
    for module, line in imports(sources()[path]):
        if module.split(".")[0] in PACKAGES:
            other = unit_of(module)
            if other != unit and RANK[other] >= RANK[unit]:
                wrong.append(f"{path}:{line}: {unit} imports {other}")
    assert wrong == []


def test_imports_are_absolute():
    relative = [
        f"{path}:{line}"
        for path, tree in sources().items()
        for module, line in imports(tree)
        if module.startswith(".")
    ]
    assert relative == []


def test_the_engine_names_no_scheme() -> None:
    """Only the registry knows them; what all have in common is in the base and the learner."""
    common = {"base", "learner"}
    known = {path.stem for path in (ROOT / "tfseg/schemes").glob("[!_]*.py")}
    for path, tree in sources().items():
        if path.startswith("tfseg/training/"):
            used = {module.split(".")[2] for module, _ in imports(tree)
                    if module.startswith("tfseg.schemes.")} & known  # fmt: skip
            assert used <= common, path
            assert not re.search(r"supervised|detect", (ROOT / path).read_text()), path


@pytest.mark.parametrize("path", sources())
def test_tensorflow_is_imported_where_it_belongs(path):
    if any(fnmatch.fnmatch(path, pattern) for pattern in TENSORFLOW_MODULES):
        return
    heavy = [m for m, _ in imports(top_level(sources()[path])) if m.split(".")[0] in HEAVY]
    assert heavy == [], "import it inside the function that needs it"


def test_the_tensorflow_table_names_existing_files():
    for pattern in TENSORFLOW_MODULES:
        assert fnmatch.filter(sources(), pattern), pattern


def offences(tree: ast.Module, in_cli: bool) -> Iterator[tuple[int, str]]:
    """Yield (line, what) for what no source file may do."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Assert):
            yield line, "assert: raise a tfseg.errors type"
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield line, "bare except: name the exception"
            if all(isinstance(statement, ast.Pass) for statement in node.body):
                yield line, "swallowed exception: use contextlib.suppress with a reason, or raise"
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name == "print" and not in_cli:
                yield line, "print: only the command line talks"
            if name in {"eval", "exec"}:
                yield line, f"{name}: never on data"
            if options.get("allow_pickle") == "True":
                yield line, "allow_pickle=True: loading would run code"
            if options.get("safe_mode") == "False":
                yield line, "safe_mode=False: loading would run code"
            if name.endswith("load_model") and options.get("safe_mode") != "True":
                yield line, "load_model: say safe_mode=True"
    for module, line in imports(tree):
        if module.split(".")[0] in {"pickle", "shelve", "marshal", "dill", "joblib"}:
            yield line, f"{module}: loading would run code"


@pytest.mark.parametrize("path", sources())
def test_no_file_does_what_none_may(path):
    found = offences(sources()[path], in_cli="/cli" in path)
    assert [f"{path}:{line}: {what}" for line, what in found] == []


@pytest.mark.parametrize(
    "code",
    [
        "assert x",
        "try:\n    f()\nexcept:\n    g()",
        "try:\n    f()\nexcept OSError:\n    pass",
        "print(1)",
        "numpy.load(f, allow_pickle=True)",
        "keras.models.load_model(f)",
        "import pickle",
        "eval(text)",
    ],
)
def test_the_rules_find_offenders(code):
    assert len(list(offences(ast.parse(code), in_cli=False))) == 1


@pytest.mark.parametrize("path", sources())
def test_files_stay_readable(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES, "split it by what it does"
    assert not text or ast.get_docstring(sources()[path]), "say first what the module is for"
    for marker in ("TODO", "FIXME", "XXX"):
        assert marker not in text


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_imports_nothing_heavy():
    loaded = run_python(
        "import sys; from tfseg.cli.main import run; code = run(['--help']);"
        "print('LOADED', code, *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    code, *modules = loaded.split("LOADED ")[1].split()
    assert code == "0"
    heavy = {"numpy", "scipy", "pydicom", "nibabel", "SimpleITK", "pydantic", "rich", "grpc"}
    assert not set(modules) & (HEAVY | heavy)


def test_no_commands_help_imports_tensorflow():
    # One process for all: a command that imported it would show in the end.
    loaded = run_python(
        "import sys; from tfseg.cli.main import COMMANDS, run\n"
        "codes = {name: run([name, '--help']) for name in COMMANDS}\n"
        "print('LOADED', [n for n, code in codes.items() if code], 'tensorflow' in sys.modules)"
    )
    assert loaded.split("LOADED ")[1].strip() == "[] False"


def test_what_works_without_tensorflow_never_loads_it():
    # Through other modules, too: reading, checking, planning, measuring, reporting, querying.
    modules = (
        "tfseg.io", "tfseg.datasets", "tfseg.planning", "tfseg.preprocess", "tfseg.metrics",
        "tfseg.inference.predictor", "tfseg.inference.backends.onnx",
        "tfseg.inference.backends.tflite", "tfseg.inference.backends.openvino", "tfseg.evaluation",
        "tfseg.losses", "tfseg.losses.maps", "tfseg.metrics.measure",
        "tfseg.report", "tfseg.models.registry", "tfseg_serving.wire", "tfseg_serving.client",
    )  # fmt: skip
    code = f"import sys, {', '.join(modules)}; print('tensorflow' in sys.modules)"
    assert run_python(code).strip() == "False"
