import pytest

import xarray_ngff  # noqa: F401  # whole, before pytest imports its modules one by one for their examples


@pytest.fixture(autouse=True)
def docstring_examples_write_elsewhere(request, monkeypatch):
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(request.getfixturevalue("tmp_path"))
