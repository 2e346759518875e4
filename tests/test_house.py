"""The house of docs/architecture.md: who imports whom, and how long files and functions are."""

import ast
import functools
import graphlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# Each package imports only from itself and from those before it; see docs/architecture.md.
ORDER = ("root", "nn", "metrics", "runtime", "storage", "media", "encoders", "data")
ORDER += ("interchange", "reports", "training", "methods", "experiment", "modes", "top")
TFDS_LLP_IMPORTS = ("root", "runtime", "storage", "media", "encoders")
COMMANDS = ("tfds_llp.convert", "tfds_llp.elaborate", "tfds_llp.extract", "tfds_llp.teach")
MORE_THAN_A_DOCSTRING = ("avvp_jax", "avvp_jax.methods", "avvp_jax.modes", "tfds_llp")
METHODS = {path.parent.name for path in (ROOT / "avvp_jax/methods").glob("*/method.py")}
LONGEST_FILE, LONGEST_FUNCTION = 300, 60


def module_of(path: pathlib.Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {
    module_of(path): path
    for folder in ("avvp_jax", "tfds_llp", "configs", "benchmarks", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "golden" not in path.parts
} | {"launch": ROOT / "launch.py"}
LIBRARY = [module for module in FILES if module.split(".")[0] in ("avvp_jax", "tfds_llp")]


@functools.cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text())


@functools.cache
def imports_of(module: str) -> tuple[tuple[str, int], ...]:
    """The files that one imports anywhere, in functions and for types too, and the lines."""
    found = []
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{FILES[module]}:{node.lineno}: a relative import"
            inside = [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
            found += [(x if x in FILES else node.module, line) for x, line in inside]
    return tuple(dict.fromkeys((name, line) for name, line in found if name in FILES))


def package_of(module: str) -> str:
    """The package of a file of avvp_jax, by its name in ORDER."""
    if module in ("avvp_jax", "avvp_jax.api"):
        return "top"
    return "root" if FILES[module].parent.parent == ROOT else module.split(".")[1]


def may_import(module: str, imported: str) -> bool:
    ours, theirs = module.split(".")[0], imported.split(".")[0]
    if theirs not in ("avvp_jax", "tfds_llp"):
        return False  # launch.py, configs, benchmarks and tests are on top
    if imported in COMMANDS:
        return False
    if (ours, theirs) == ("avvp_jax", "tfds_llp"):
        return module == "avvp_jax.data.prepared"
    if ours == "avvp_jax":
        return ORDER.index(package_of(imported)) <= ORDER.index(package_of(module))
    if theirs == "avvp_jax":
        return module == "tfds_llp.elaborate" or package_of(imported) in TFDS_LLP_IMPORTS
    return True


def test_every_package_has_its_place_in_the_order():
    packages = {package_of(module) for module in LIBRARY if module.startswith("avvp_jax")}
    assert packages <= set(ORDER)


@pytest.mark.parametrize("module", LIBRARY)
def test_a_file_imports_only_what_is_below_its_package(module):
    wrong = [
        f"{FILES[module].relative_to(ROOT)}:{line} imports {imported}"
        for imported, line in imports_of(module)
        if not may_import(module, imported)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_files_import_each_other_in_a_circle():
    graph = {module: {imported for imported, _ in imports_of(module)} for module in FILES}
    # CycleError names the circle, if there is one.
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(order) == set(FILES)


def test_packages_hold_a_docstring_alone():
    """So that importing a file imports nothing beside it."""
    initial = [m for m in LIBRARY if FILES[m].name == "__init__.py"]
    assert set(MORE_THAN_A_DOCSTRING) <= set(initial)
    for module in set(initial) - set(MORE_THAN_A_DOCSTRING):
        body = tree_of(module).body
        assert len(body) == 1 and ast.get_docstring(tree_of(module)), FILES[module]


def test_files_and_functions_fit():
    long = []
    for module, path in FILES.items():
        if (lines := len(path.read_text().splitlines())) > LONGEST_FILE:
            long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines}")
    assert not long, "\n".join(long)


@pytest.mark.parametrize("module", [m for m in LIBRARY if m.startswith("avvp_jax")])
def test_no_file_outside_methods_knows_a_method_by_name(module):
    if package_of(module) == "methods":
        return
    named = [
        f"{FILES[module].relative_to(ROOT)}:{node.lineno} names {node.value!r}"
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Constant) and node.value in METHODS
    ]
    assert not named, "\n".join(named)
