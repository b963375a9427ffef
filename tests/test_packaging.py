"""What pyproject.toml promises an installer."""

import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import xarray_ngff

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = {"all", "bench", "docs", "test"}


def lower_bounds(requirements):
    """The release that each requirement starts at, by name."""
    return {
        requirement.name: Version(next(bound.version for bound in requirement.specifier if bound.operator == ">="))
        for requirement in map(Requirement, requirements)
    }


def test_constraints_pin_every_lower_bound():
    runtime = [*PROJECT["dependencies"], *(line for extra in EXTRAS.keys() - FOR_DEVELOPERS for line in EXTRAS[extra])]
    lines = (ROOT / "constraints" / "lower.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {name: Version(pin) for name, pin in pins.items()} == lower_bounds(runtime)


def test_all_is_every_extra_of_a_user():
    (everything,) = map(Requirement, EXTRAS["all"])
    assert everything.name == PROJECT["name"]
    assert everything.extras == EXTRAS.keys() - FOR_DEVELOPERS


def test_the_package_tells_its_version():
    assert xarray_ngff.__version__ == version(PROJECT["name"]) == PROJECT["version"]


@pytest.mark.parametrize("engine", PROJECT["entry-points"]["xarray.backends"])
def test_xarray_finds_the_engine(engine):
    (found,) = entry_points(group="xarray.backends", name=engine)
    assert found.load().__name__ == found.attr
