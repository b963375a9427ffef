import typing

import numpy as np
import pint
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from ngff_zarr.v04 import zarr_metadata

from xarray_ngff.errors import UnitError
from xarray_ngff.units import (
    conversion_factor,
    converted,
    is_known,
    is_length,
    is_time,
    magnitude,
    symbol,
    unit_name,
)


def listed(union):
    return sorted(text for literal in typing.get_args(union) for text in typing.get_args(literal))


# the lists of OME-NGFF, as another reader of the format has them
LENGTHS, TIMES = listed(zarr_metadata.SpaceUnits), listed(zarr_metadata.TimeUnits)
REGISTRY = pint.UnitRegistry()

lengths, times = st.sampled_from(LENGTHS), st.sampled_from(TIMES)


@pytest.mark.parametrize("unit", LENGTHS)
def test_lengths_of_the_format_are_known(unit):
    assert unit_name(unit) == unit
    assert (is_known(unit), is_length(unit), is_time(unit)) == (True, True, False)


@pytest.mark.parametrize("unit", TIMES)
def test_times_of_the_format_are_known(unit):
    assert unit_name(unit) == unit
    assert (is_known(unit), is_length(unit), is_time(unit)) == (True, False, True)


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("um", "micrometer"),
        ("µm", "micrometer"),
        ("\u03bcm", "micrometer"),
        ("micron", "micrometer"),
        ("microns", "micrometer"),
        ("micrometers", "micrometer"),
        ("Micrometres", "micrometer"),
        ("MICROMETER", "micrometer"),
        (" mm ", "millimeter"),
        ("m", "meter"),
        ("metre", "meter"),
        ("Å", "angstrom"),
        ("Ångström", "angstrom"),
        ("feet", "foot"),
        ("inches", "inch"),
        ("s", "second"),
        ("sec", "second"),
        ("secs", "second"),
        ("seconds", "second"),
        ("ms", "millisecond"),
        ("msec", "millisecond"),
        ("us", "microsecond"),
        ("hours", "hour"),
        ("min", "minute"),
        ("mins", "minute"),
        ("days", "day"),
    ],
)
def test_spellings_of_files_are_understood(spelled, name):
    assert unit_name(spelled) == name


def test_symbols_tell_upper_from_lower_case():
    assert [unit_name(text) for text in ("Mm", "mm", "Ps", "ps")] == [
        "megameter",
        "millimeter",
        "petasecond",
        "picosecond",
    ]


@pytest.mark.parametrize("text", ["pixel", "furlong", "", "arbitrary unit"])
def test_unknown_units_stay_as_they_are(text):
    assert unit_name(text) == text
    assert not is_known(text)
    assert symbol(text) == text


def test_no_unit_has_no_name():
    assert (unit_name(None), symbol(None)) == (None, "")


@given(st.one_of(lengths, times))
def test_a_symbol_names_its_unit(unit):
    assert unit_name(symbol(unit)) == unit


@given(source=lengths, target=lengths)
def test_factors_are_those_of_pint(source, target):
    expected = REGISTRY.Quantity(1.0, source).m_as(target)
    assert conversion_factor(source, target) == pytest.approx(expected, rel=1e-12)
    assert conversion_factor(target, source) == pytest.approx(1 / expected, rel=1e-12)


@given(source=times, target=times)
def test_factors_of_times_are_those_of_pint(source, target):
    assert conversion_factor(source, target) == pytest.approx(REGISTRY.Quantity(1.0, source).m_as(target), rel=1e-12)


@pytest.mark.parametrize(("source", "target"), [(None, "mm"), ("mm", None), (None, None), ("pixel", "pixel")])
def test_what_has_no_unit_is_in_that_of_the_others(source, target):
    assert conversion_factor(source, target) == 1.0


def test_powers_of_ten_convert_exactly():
    assert conversion_factor("nanometer", "millimeter") == 1e-6
    assert conversion_factor("kilometer", "nanometer") == 1e12
    assert converted(9.0, "nm", "um") == 0.009  # 9 * 0.001 is 0.009000000000000001
    np.testing.assert_array_equal(converted(np.array([9.0, 18.0]), "nm", "um"), [0.009, 0.018])


def test_units_that_measure_different_things_do_not_convert():
    with pytest.raises(UnitError, match=r"'second' to 'micrometer'.*different things"):
        conversion_factor("s", "um")


@pytest.mark.parametrize(("source", "target"), [("furlongish", "um"), ("um", "furlongish"), ("5 / um", "um")])
def test_units_that_nobody_knows_do_not_convert(source, target):
    with pytest.raises(UnitError, match="cannot convert"):
        conversion_factor(source, target)


@given(value=st.floats(-1e6, 1e6), source=lengths, target=lengths)
def test_a_text_is_the_quantity_that_pint_reads(value, source, target):
    expected = REGISTRY.Quantity(value, source).m_as(target)
    for text in (f"{value!r} {source}", f" {value!r}{symbol(source)} "):
        assert magnitude(text, target) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("value", [3, 3.0, np.float32(3), np.int64(3), np.array(3), np.array(3.0), "3", " 3. "])
def test_a_bare_number_is_in_the_unit_of_the_axis(value):
    assert magnitude(value, "millimeter") == 3.0
    assert magnitude(value, None) == 3.0


@pytest.mark.parametrize("style", ["", "D", "~", "~P", "P", "L", "C"])
def test_a_quantity_of_any_registry_converts(style):
    registry = pint.UnitRegistry()
    registry.formatter.default_format = style
    assert magnitude(registry.Quantity(10, "um"), "millimeter") == 0.01
    assert magnitude(registry.Quantity(np.array(10), "um"), "millimeter") == 0.01


def test_a_coordinate_value_brings_its_unit():
    value = xr.DataArray(2.5, attrs={"units": "mm"})
    assert magnitude(value, "micrometer") == 2500.0
    assert magnitude(xr.DataArray(2.5), "micrometer") == 2.5


@pytest.mark.parametrize("value", ["", "mm", "1,5 mm", "about 3 mm", "1 2 mm"])
def test_a_text_that_is_no_quantity_is_refused(value):
    with pytest.raises(UnitError):
        magnitude(value, "millimeter")


@pytest.mark.parametrize("value", [None, [1.0], np.array([1.0]), (1, "mm"), {}, REGISTRY.Quantity([1.0], "mm"), 1j])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(UnitError, match="neither a number"):
        magnitude(value, "millimeter")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_what_is_not_finite_is_refused(value):
    with pytest.raises(UnitError, match="not finite"):
        magnitude(value, "millimeter")


def test_a_unit_needs_one_to_convert_to():
    with pytest.raises(UnitError, match="the axis has none"):
        magnitude("3 mm", None)


def test_a_quantity_of_another_kind_is_refused():
    with pytest.raises(UnitError, match="different things"):
        magnitude("3 s", "millimeter")
    with pytest.raises(UnitError, match="different things"):
        magnitude(REGISTRY.Quantity(3, ""), "millimeter")
