"""No circles of imports, neither between files nor between rooms; `make check` enforces the floors."""

from graphlib import TopologicalSorter

import grimp

PACKAGES = ("mura_env", "base_models", "agents", "mura_app")


def _imports() -> dict[str, set[str]]:
    """Return what each module imports when it runs; imports for type annotations alone are left out."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert "mura_env.predictions" in imports["mura_env.weighting_task"]  # the graph is not empty
    return imports


def test_no_files_import_each_other_in_a_circle():
    TopologicalSorter(_imports()).prepare()  # raises CycleError, which names the circle


def test_no_rooms_import_each_other_in_a_circle():
    """A room is a folder or a file directly in a package."""
    rooms: dict[str, set[str]] = {}
    for module, imported in _imports().items():
        of_module = ".".join(module.split(".")[:2])
        below = {".".join(name.split(".")[:2]) for name in imported if "." in name}
        rooms.setdefault(of_module, set()).update(below - {of_module})
    TopologicalSorter(rooms).prepare()
