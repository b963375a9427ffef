"""The official attribute suites of OME-NGFF 0.4 and 0.5: valid cases are read, invalid ones raise."""

import json
import os
import warnings
from pathlib import Path

import pytest

from xarray_ngff.backends.ngff import metadata
from xarray_ngff.errors import MetadataError, NgffWarning

DATA = Path(os.environ.get("XARRAY_NGFF_TEST_DATA", Path(__file__).parents[4] / "shared" / "data")) / "conformance"

READERS = {
    "image": metadata.multiscales,
    "label": metadata.image_label,
    "plate": metadata.plate,
    "well": metadata.well,
}

SWAPPED = 'path is row/column "in that order" (0.4, "plate" metadata), but rows and columns are swapped in the case'

# Marked valid, though the text of the specification forbids them.
RAISES_THOUGH_VALID = {
    ("0.4", "image_suite", "mismatch_axes_units.json"): "scale has length 2 for 3 axes",
    ("0.4", "plate_suite", "minimal_no_acquisitions"): SWAPPED,
    ("0.4", "plate_suite", "minimal_acquisitions"): SWAPPED,
    ("0.4", "plate_suite", "non_alphanumeric_row"): SWAPPED,
    ("0.4", "strict_plate_suite", "strict_no_acquisitions"): SWAPPED,
    ("0.4", "strict_plate_suite", "strict_acquisitions"): SWAPPED,
}

# Marked invalid by the strict suites, which treat every SHOULD as a MUST.
READ_THOUGH_INVALID = {
    ("0.4", "strict_label_suite", "no_version"): "version SHOULD be there",
    ("0.4", "strict_label_suite", "no_colors"): "colors SHOULD be there",
    ("0.4", "strict_plate_suite", "missing_name"): "name SHOULD be there",
    ("0.4", "strict_plate_suite", "missing_version"): "version SHOULD be there",
    ("0.4", "strict_plate_suite", "missing_acquisition_name"): "name SHOULD be there",
    ("0.4", "strict_plate_suite", "missing_acquisition_maximumfieldcount"): "maximumfieldcount SHOULD be there",
    ("0.4", "strict_well_suite", "missing_version"): "version SHOULD be there",
    ("0.5", "strict_label_suite", "no_colors"): "colors SHOULD be there",
    ("0.5", "strict_plate_suite", "missing_name"): "name SHOULD be there",
    ("0.5", "strict_plate_suite", "missing_acquisition_name"): "name SHOULD be there",
    ("0.5", "strict_plate_suite", "missing_acquisition_maximumfieldcount"): "maximumfieldcount SHOULD be there",
}

# Valid, and read with a warning.
WARNS = {
    ("0.4", "image_suite", "missing_version.json"): "states no version",
    ("0.4", "image_suite", "invalid_axis_units.json"): "'micron'; it was read as 'micrometer'",
    ("0.5", "image_suite", "invalid_axis_units.json"): "'micron'; it was read as 'micrometer'",
    ("0.5", "image_suite", "mismatch_axes_units.json"): "not a unit of an axis of type 'time'",
}


def cases():
    for file in sorted(DATA.glob("*/*.json")):
        for index, test in enumerate(json.loads(file.read_text())["tests"]):
            name = test["formerly"].rsplit("/", 1)[-1]
            yield (file.parent.name, file.stem, name), index, test


CASES = list(cases())


def read(suite, data):
    return READERS[suite.removeprefix("strict_").removesuffix("_suite")](data, "case")


def swapped(data):
    """A plate of the 0.4 suites with its rows and columns where the specification wants them."""
    plate = dict(data["plate"])
    rows, columns = plate.pop("rows", None), plate.pop("columns", None)
    plate |= {key: value for key, value in (("rows", columns), ("columns", rows)) if value is not None}
    return {"plate": plate}


@pytest.mark.skipif(not CASES, reason=f"the conformance suites are not in {DATA}: set XARRAY_NGFF_TEST_DATA")
class TestSuites:
    def test_every_suite_is_there(self):
        assert {key[:2] for key, _, _ in CASES} == {
            (version, f"{strict}{kind}_suite")
            for version in ("0.4", "0.5")
            for strict in ("", "strict_")
            for kind in READERS
        }

    def test_every_exception_names_a_case(self):
        keys = {key: test["valid"] for key, _, test in CASES}
        assert all(keys[key] for key in RAISES_THOUGH_VALID | WARNS)
        assert not any(keys[key] for key in READ_THOUGH_INVALID)

    @pytest.mark.parametrize(("key", "test"), [pytest.param(k, t, id=f"{'-'.join(k)}-{i}") for k, i, t in CASES])
    def test_case(self, key, test):
        version, suite, _ = key
        # the plates of 0.4 are all swapped, so that the invalid ones would raise for that alone
        data = swapped(test["data"]) if version == "0.4" and suite.endswith("plate_suite") else test["data"]
        reads = (test["valid"] and key not in RAISES_THOUGH_VALID) or key in READ_THOUGH_INVALID
        reads = reads or RAISES_THOUGH_VALID.get(key) == SWAPPED
        if not reads:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NgffWarning)
                with pytest.raises(MetadataError, match=r"^case: "):
                    read(suite, data)
        elif key in WARNS:
            with pytest.warns(NgffWarning, match=WARNS[key]):
                read(suite, data)
        else:
            read(suite, data)

    @pytest.mark.parametrize("key", RAISES_THOUGH_VALID, ids="-".join)
    def test_a_case_marked_valid_that_the_text_forbids_raises(self, key):
        (test,) = (test for name, _, test in CASES if name == key)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NgffWarning)
            with pytest.raises(MetadataError):
                read(key[1], test["data"])
