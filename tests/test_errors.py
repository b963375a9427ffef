import pytest

from xarray_ngff import errors


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.GeometryError, ValueError),
        (errors.UnitError, ValueError),
        (errors.FormatError, ValueError),
        (errors.MetadataError, errors.FormatError),
        (errors.LevelError, IndexError),
        (errors.MemoryLimitError, ValueError),
        (errors.TargetExistsError, FileExistsError),
    ],
)
def test_an_error_is_ours_and_the_built_in_one(error, builtin):
    assert issubclass(error, errors.NgffError)
    assert issubclass(error, builtin)


def test_the_warning_is_one_that_python_shows():
    assert issubclass(errors.NgffWarning, UserWarning)


def test_every_error_is_listed():
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert defined == set(errors.__all__)
