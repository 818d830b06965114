import sys
from pathlib import Path

import pytest

from mura_env.errors import UserError
from mura_env.utils.plugins import Registry


class Shape:
    pass


def shapes(**modules: str) -> Registry[type[Shape]]:
    return Registry(
        "shape",
        "test.shapes",
        expected="a class derived from Shape",
        accepts=lambda item: isinstance(item, type) and issubclass(item, Shape),
        modules=modules,
    )


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that puts a package of one module where an installer would."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(package: str, source: str, *entry_points: str) -> None:
        (tmp_path / f"{package}.py").write_text(source)
        metadata = tmp_path / f"{package}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "\n".join(entry_points)
        (metadata / "entry_points.txt").write_text(f"[test.shapes]\n{lines}\n")
        monkeypatch.delitem(sys.modules, package, raising=False)

    return put


def test_what_is_registered_is_found_by_its_name():
    registry = shapes()

    @registry.register("round")
    class Round(Shape):
        pass

    assert registry["round"] is Round
    assert registry.names() == ("round",)
    assert "round" in registry
    assert "flat" not in registry
    assert registry.register("round")(Round) is Round  # a module that is reloaded registers again


def test_a_name_is_given_once_and_follows_the_rule():
    registry = shapes(lazy="a_module_of_the_project")
    registry.register("round")(type("Round", (Shape,), {}))
    with pytest.raises(UserError, match=r"shape name 'round' is taken by .*\.Round; choose another"):
        registry.register("round")(type("Other", (Shape,), {}))
    with pytest.raises(UserError, match="'lazy' is taken by a_module_of_the_project"):
        registry.register("lazy")(type("Other", (Shape,), {}))
    for name in ("", "two words", "timm:name", "a,b", "../a", "1st"):
        with pytest.raises(UserError, match="expected a name of letters, digits"):
            registry.register(name)
    with pytest.raises(UserError, match="expected a class derived from Shape as the shape 'three', got 3"):
        registry.register("three")(3)


def test_an_unknown_name_is_answered_with_the_known_ones():
    registry = shapes()
    registry.register("round")(Shape)
    with pytest.raises(UserError, match=r"one of the shapes round, got 'ruond'; did you mean 'round'\?"):
        registry["ruond"]


def test_modules_of_the_project_and_plug_ins_are_imported_when_asked_for(install):
    install(
        "shapes_to_add",
        "from tests.mura_env.utils.test_plugins import Shape\nclass Square(Shape):\n    pass\n",
        "square = shapes_to_add:Square",
        "lazy = shapes_to_add:Square",
    )
    registry = shapes(lazy="a_module_of_the_project")
    assert registry.names() == ("lazy", "square")  # the project's own name stays its own
    assert "shapes_to_add" not in sys.modules
    assert registry["square"].__name__ == "Square"
    with pytest.raises(ModuleNotFoundError, match="a_module_of_the_project"):  # a defect, not the user's
        registry["lazy"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import a_module_that_nobody_has", "which cannot be imported: No module named"),
        ("Odd = 3", "expected a class derived from Shape as the shape 'odd'.*got 3"),
        ("", "which cannot be imported"),
    ],
)
def test_a_broken_plug_in_is_named_with_its_package_and_leaves_the_others_alone(install, source, message):
    install("broken", source, "odd = broken:Odd")
    registry = shapes()
    registry.register("round")(Shape)
    assert registry.names() == ("round", "odd")
    assert registry["round"] is Shape
    with pytest.raises(UserError, match=message) as raised:
        registry["odd"]
    assert "the plug-in 'broken:Odd' of the package broken" in str(raised.value)


def test_two_packages_with_one_name_are_refused(install):
    source = "from tests.mura_env.utils.test_plugins import Shape\n"
    install("one", source, "same = one:Shape")
    install("other", source, "same = other:Shape")
    with pytest.raises(UserError, match=r"one package with a shape 'same', got o.* and o"):
        shapes()["same"]


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a b", "[x]", "-x"])
def test_a_plug_in_is_named_by_the_rule_too(install, name):
    source = "from tests.mura_env.utils.test_plugins import Shape\nclass Evil(Shape):\n    pass\n"
    install("evil", source, f"{name} = evil:Evil")
    with pytest.raises(UserError, match=r"expected a name of letters, digits|expected one of the shapes"):
        shapes()[name]
