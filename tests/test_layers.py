"""Imports go one way. Read from the import statements, not from what happens to be loaded."""

import ast
import graphlib
from pathlib import Path

import pytest

import smoe

ROOT = Path(smoe.__file__).parent
# A module imports from layers below its own, or from its own without a cycle; a new module needs a place here.
LAYERS = [
    {"_kernels", "params", "fields", "registry", "validation", "features", "formulas"}
    | {"plain", "tables", "texts", "files", "threads", "settings", "optional", "hints"},
    {"cumulative", "families", "penalties", "constraints"},
    {"gates", "experts"},
    {"fused"},
    {"mixture"},
    {"rows", "chance", "starts", "solvers", "places", "pool"}
    | {"second_look", "checkpoint", "order", "closing", "search"},
    {"criteria", "inference", "distribution", "diagnostics", "fitted", "fitted_joint", "profile", "saved"},
    {"estimators", "datasets", "simulation"},
    {"selection", "metrics"},
    {"plots", "precompile", "report", "versions"},
    {"cli", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = {path.relative_to(ROOT): path for path in ROOT.rglob("*.py")}
MODULES = sorted(path for path in FILES if path != Path("__init__.py"))


def tree(path):
    return ast.parse(FILES[path].read_text(encoding="utf-8"))


def imports(path):
    """Dotted names that a file imports, wherever in the file; relative ones made absolute."""
    package = ["smoe", *path.parts[:-1]]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def part(name):
    """The part of smoe that a dotted name or a path belongs to."""
    return name.split(".")[1] if isinstance(name, str) else name.with_suffix("").parts[0]


def inner(path):
    """Parts of smoe that a file imports from."""
    return {part(name) for name in imports(path) if name.startswith("smoe.")} - {part(path)}


def test_there_is_something_to_read():
    assert {part(path) for path in MODULES} >= {"_kernels", "gates", "experts", "mixture", "solvers", "estimators"}
    assert inner(Path("mixture.py")) >= {"_kernels", "gates", "experts", "params"}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_go_down(path):
    assert part(path) in LEVEL, f"give smoe.{part(path)} a place in LAYERS"
    assert "smoe" not in imports(path), "import modules, not the package"
    for other in inner(path):
        assert other in LEVEL, f"give smoe.{other} a place in LAYERS"
        assert LEVEL[other] <= LEVEL[part(path)], f"{path} imports {other} from a layer above"


def test_imports_have_no_cycle():
    graph = {}
    for path in MODULES:
        graph.setdefault(part(path), set()).update(inner(path))
    assert list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_plots_imports_matplotlib(path):
    names = {name.split(".")[0] for name in imports(path)}
    assert "matplotlib" not in names or part(path) == "plots"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_nothing_private_of_scikit_learn(path):
    for name in imports(path):
        if name.startswith("sklearn"):
            assert not any(piece.startswith("_") for piece in name.split(".")), name


# These are about one gate or one family, by their own words: losses and truths of published models, named estimators.
OF_ONE_MODEL = {
    *("estimators/named.py", "solvers/annealing.py", "datasets/_make.py"),
    *("penalties/elastic_net.py", "penalties/keep_zeros.py"),
    *(
        f"simulation/{name}.py"
        for name in (
            "voronoi",
            "_truths",
            "_protocols",
            "_placed",
            "_separation",
            "_studies_published",
            "_studies_sharp",
            "losses",
        )
    ),
}
OWNERS = {"gates", "experts", "families", "_kernels"}


@pytest.mark.parametrize(
    "path", [p for p in MODULES if part(p) not in OWNERS and p.as_posix() not in OF_ONE_MODEL], ids=str
)
def test_fields_of_parameters_are_known_to_their_owners_alone(path):
    """Others go by what a field declares, not by its name."""
    names = {"coef", "intercept", "temperature"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            assert node.attr not in names, f"line {node.lineno}: .{node.attr}"
        if isinstance(node, ast.keyword):
            assert node.arg not in names, f"line {node.value.lineno}: {node.arg}="
        if isinstance(node, ast.Constant):
            assert node.value not in names | {"variance"}, f"line {node.lineno}: {node.value!r}"


def own_private(module):
    """Private names that a module defines: functions, classes, fields, and what it keeps in ``self``."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            yield node.attr


def asked_private(module):
    """Line and name of what a module asks other objects for, in their private attributes."""
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr", "attrgetter"):
            yield from ((node.lineno, arg.value) for arg in node.args if isinstance(arg, ast.Constant))


OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}
WITH_NUMBA = {"_cache.py", "_inner.py", "_signals.py"}  # what numba has no public name for


@pytest.mark.parametrize("path", [path for path in MODULES if path.name not in WITH_NUMBA], ids=str)
def test_nobody_reaches_for_private_attributes_of_others(path):
    """What a fit leaves is in ``fitted_``; estimators have no drawers that other modules know."""
    module = tree(path)
    allowed = OF_NAMED_TUPLES | {*own_private(module)}
    for line, name in asked_private(module):
        if str(name).startswith("_") and not str(name).startswith("__"):
            assert name in allowed, f"line {line}: {name}"


MACHINERY = {"_cache.py", "_inner.py", "_memory.py", "_signals.py"}  # around kernels: how they are kept, and signals
KERNELS = [path for path in MODULES if part(path) == "_kernels" and path.name not in MACHINERY]


@pytest.mark.parametrize("path", KERNELS, ids=str)
def test_kernels_import_hardly_anything(path):
    for name in imports(path):
        allowed = name.split(".")[0] in ("numpy", "numba", "math", "pathlib") or name.startswith("smoe._kernels.")
        assert allowed, name


def compiled_as(function):
    """The name of what compiles a function, if anything does."""
    names = {ast.unparse(decorator) for decorator in function.decorator_list}
    return next(iter(names & {"kernel", "inner", "reduction"}), None)


@pytest.mark.parametrize("path", KERNELS, ids=str)
def test_kernels_call_kernels_only(path):
    module = tree(path)
    own = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
    own |= {target.id for node in module.body if isinstance(node, ast.Assign) for target in node.targets}
    own |= {alias.name for node in module.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    plain = {"range", "len", "min", "max", "abs", "float", "int", "bool"}
    for function in module.body:
        if isinstance(function, ast.FunctionDef) and compiled_as(function):
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                name = ast.unparse(call.func)
                assert name in own | plain or name.split(".")[0] in ("np", "math"), f"{function.name} calls {name}"


def test_python_calls_kernels_alone():
    """An inner function has no machine code of its own."""
    kinds = {
        f"{path.stem}.{node.name}": compiled_as(node)
        for path in KERNELS
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef)
    }
    for path in MODULES:
        for name in imports(path) if part(path) != "_kernels" else ():
            assert kinds.get(name.removeprefix("smoe._kernels.")) not in ("inner", "reduction"), f"{path}: {name}"
    for path in KERNELS:
        for function in (node for node in tree(path).body if isinstance(node, ast.FunctionDef)):
            for call in ast.walk(function) if not compiled_as(function) else ():
                if isinstance(call, ast.Call):
                    kind = kinds.get(f"{path.stem}.{ast.unparse(call.func)}")
                    assert kind not in ("inner", "reduction"), f"{path}: {ast.unparse(call)}"
