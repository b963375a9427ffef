"""What OME-XML says of spacing, place, time and channels."""

import numpy as np
import pytest
import xarray as xr

from xarray_ngff.backends.ome_tiff.entrypoint import OmeTiffEntrypoint
from xarray_ngff.channels import channels
from xarray_ngff.errors import NgffWarning


def open_image(path, **options):
    return xr.open_dataarray(path, engine=OmeTiffEntrypoint, **options)


def planes(shape, line):
    """Plane elements for every t, c, z; `line` gives the attributes of each."""
    return "".join(f'<Plane TheT="{t}" TheC="{c}" TheZ="{z}" {line(t, c, z)}/>' for t, c, z in np.ndindex(*shape[:3]))


def grid(image, dim):
    coord = image.coords[dim]
    return float(np.atleast_1d(coord.values)[0]), coord.attrs.get("spacing"), coord.attrs.get("units")


@pytest.mark.parametrize("order", ["XYZCT", "XYZTC", "XYCTZ", "XYCZT", "XYTCZ", "XYTZC"])
def test_every_order_of_dimensions(ome_file, order):
    data = np.random.default_rng(1).integers(0, 9999, (2, 3, 4, 8, 10), dtype=np.uint16)
    image = open_image(ome_file(data=data, order=order))
    assert image.dims == ("t", "c", "z", "y", "x")
    np.testing.assert_array_equal(image, data)


def test_each_axis_has_its_own_unit(ome_file):
    sizes = 'PhysicalSizeX="300" PhysicalSizeXUnit="nm" PhysicalSizeY="0.4" PhysicalSizeZ="1.5" PhysicalSizeZUnit="mm"'
    image = open_image(ome_file((1, 1, 3, 8, 10), pixels=sizes))
    assert [grid(image, dim) for dim in "xyz"] == [
        (0.0, 300.0, "nanometer"), (0.0, 0.4, "micrometer"), (0.0, 1.5, "millimeter"),
    ]  # fmt: skip


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_units_that_are_no_lengths_are_kept(ome_file, unit):
    image = open_image(ome_file(pixels=f'PhysicalSizeX="2" PhysicalSizeXUnit="{unit}"'))
    assert grid(image, "x") == (0.0, 2.0, unit)


def test_an_axis_without_size_counts_voxels(ome_file):
    image = open_image(ome_file((1, 1, 3, 8, 10)))
    assert [grid(image, dim) for dim in "xyz"] == [(0.0, 1.0, None)] * 3
    assert "t" not in image.coords
    assert "c" not in image.coords


def test_an_axis_of_length_one_stays_as_a_scalar(ome_file):
    inside = '<Channel Name="DAPI" Color="65535"/>'
    image = open_image(ome_file(pixels='PhysicalSizeZ="3" TimeIncrement="2"', inside=inside))
    assert image.dims == ("y", "x")
    assert grid(image, "z") == (0.0, 3.0, "micrometer")
    assert grid(image, "t") == (0.0, 2.0, "second")
    assert image.c.item() == "DAPI"
    assert image.channel_color.item() == "0000FF"


@pytest.mark.parametrize("size", ["0", "-1", "wide", "inf"])
def test_a_size_that_is_none_is_named(ome_file, size):
    path = ome_file(pixels=f'PhysicalSizeX="{size}"')
    with pytest.warns(NgffWarning, match=rf"image\.ome\.tif: PhysicalSizeX '{size}' is no positive number"):
        image = open_image(path)
    assert grid(image, "x") == (0.0, 1.0, None)


def test_the_older_schema_has_micrometers_and_a_creation_date(ome_file):
    path = ome_file(
        pixels='PhysicalSizeX="0.5"',
        image="<CreationDate>2009-01-02T03:04:05</CreationDate>",
        namespace="http://www.openmicroscopy.org/Schemas/OME/2010-06",
    )
    image = open_image(path)
    assert grid(image, "x") == (0.0, 0.5, "micrometer")
    assert image.t.attrs["start_time"] == "2009-01-02T03:04:05"


def test_positions_that_agree_are_the_origin_in_the_unit_of_the_axis(ome_file):
    shape = (1, 2, 3, 8, 10)
    inside = planes(
        shape,
        lambda t, c, z: (
            f'PositionX="0.25" PositionXUnit="mm" PositionY="-40" PositionYUnit="µm" PositionZ="{7 + 2 * z}" '
            'PositionZUnit="µm"'
        ),
    )
    sizes = 'PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="0.5" PhysicalSizeZ="2"'
    image = open_image(ome_file(shape, pixels=sizes, inside=inside))
    assert grid(image, "x")[0] == 250_000
    assert grid(image, "y")[0] == -40
    np.testing.assert_allclose(image.z, [7, 9, 11])


def test_one_z_for_all_planes_is_the_first(ome_file):
    shape = (1, 1, 3, 8, 10)
    inside = planes(shape, lambda t, c, z: 'PositionZ="12" PositionZUnit="µm"')
    np.testing.assert_allclose(open_image(ome_file(shape, pixels='PhysicalSizeZ="2"', inside=inside)).z, [12, 14, 16])


def test_a_stack_that_was_taken_from_the_top_down_descends(ome_file):
    shape = (1, 2, 3, 8, 10)
    inside = planes(shape, lambda t, c, z: f'PositionZ="{7 - 2 * z}" PositionZUnit="µm"')
    image = open_image(ome_file(shape, pixels='PhysicalSizeZ="2"', inside=inside))
    np.testing.assert_allclose(image.z, [7, 5, 3])
    assert image.ngff.spacing["z"] == 2


def test_positions_that_disagree_are_no_origin(ome_file):
    shape = (2, 1, 3, 8, 10)
    inside = planes(shape, lambda t, c, z: f'PositionX="{t}" PositionXUnit="µm" PositionZ="{z * z}" PositionZUnit="µm"')
    image = open_image(ome_file(shape, pixels='PhysicalSizeX="1" PhysicalSizeZ="2"', inside=inside))
    assert grid(image, "x")[0] == grid(image, "z")[0] == 0


def test_positions_in_no_unit_of_length_are_named_once(ome_file):
    shape = (3, 1, 2, 8, 10)
    inside = planes(shape, lambda t, c, z: 'PositionX="5" PositionY="0"')
    path = ome_file(shape, pixels='PhysicalSizeX="1" PhysicalSizeY="1"', inside=inside)
    with pytest.warns(NgffWarning, match="PositionX is in 'reference frame', which is not known in the unit of x") as w:
        image = open_image(path)
    assert len(w) == 1
    assert grid(image, "x")[0] == 0


def test_a_position_in_the_unit_of_its_axis_needs_no_length(ome_file):
    inside = planes((1, 1, 1), lambda t, c, z: 'PositionX="5"')
    path = ome_file(pixels='PhysicalSizeX="2" PhysicalSizeXUnit="reference frame"', inside=inside)
    assert grid(open_image(path), "x") == (5.0, 2.0, "reference frame")


def test_time_increment(ome_file):
    image = open_image(ome_file((4, 1, 1, 8, 10), pixels='TimeIncrement="250" TimeIncrementUnit="ms"'))
    np.testing.assert_array_equal(image.t, [0, 250, 500, 750])
    assert image.t.attrs["units"] == "millisecond"


@pytest.mark.parametrize(("late", "start"), [(0.0, 3.0), (0.5, 0.0)])
def test_time_increment_starts_where_planes_that_agree_do(ome_file, late, start):
    shape = (3, 2, 1, 8, 10)
    inside = planes(shape, lambda t, c, z: f'DeltaT="{3 + 2 * t + c / 10 + (late if t == 2 else 0)}"')
    image = open_image(ome_file(shape, pixels='TimeIncrement="2"', inside=inside))
    np.testing.assert_allclose(image.t, start + 2 * np.arange(3))


def test_times_of_planes_may_be_irregular(ome_file):
    shape = (3, 2, 1, 8, 10)
    times = [100, 2500, 3100]
    inside = planes(shape, lambda t, c, z: f'DeltaT="{times[t] + 7 * c}" DeltaTUnit="ms"')
    image = open_image(ome_file(shape, inside=inside))
    np.testing.assert_allclose(image.t, [0.1, 2.5, 3.1])
    assert image.t.attrs["units"] == "second"


@pytest.mark.parametrize("times", [[0, 1, 1], [2, 1, 3], [0, 1, None]], ids=["equal", "falling", "incomplete"])
def test_times_that_make_no_axis_are_not_used(ome_file, times):
    shape = (3, 1, 1, 8, 10)
    inside = planes(shape, lambda t, c, z: "" if times[t] is None else f'DeltaT="{times[t]}"')
    image = open_image(ome_file(shape, inside=inside))
    assert grid(image, "t") == (0.0, 1.0, None)


def test_acquisition_date_is_when_t_is_zero(ome_file):
    date = "<AcquisitionDate>2021-03-04T05:06:07.891</AcquisitionDate>"
    image = open_image(ome_file((2, 1, 1, 8, 10), pixels='TimeIncrement="2"', image=date))
    assert image.t.attrs["start_time"] == "2021-03-04T05:06:07.891000"


def test_an_acquisition_date_that_is_none_is_named(ome_file):
    path = ome_file(image="<AcquisitionDate>yesterday</AcquisitionDate>")
    with pytest.warns(NgffWarning, match="AcquisitionDate 'yesterday' is no time"):
        image = open_image(path)
    assert "t" not in image.coords


WINDOW = (
    '<StructuredAnnotations><MapAnnotation ID="Annotation:7" Namespace="xarray_ngff/display-window"><Value>'
    '<M K="start">100</M><M K="end">2500.5</M><M K="min">0</M><M K="max">65535</M></Value></MapAnnotation>'
    '<MapAnnotation ID="Annotation:8" Namespace="other"><Value><M K="start">1</M><M K="end">2</M></Value>'
    "</MapAnnotation></StructuredAnnotations>"
)


def test_channels_have_names_colours_and_windows(ome_file):
    inside = (
        '<Channel Name="DAPI" Color="65535"><AnnotationRef ID="Annotation:7"/></Channel><Channel Color="-16776961"/>'
        '<Channel Name="GFP"><AnnotationRef ID="Annotation:8"/></Channel>'
    )
    image = open_image(ome_file((1, 3, 1, 8, 10), inside=inside, after=WINDOW))
    found = channels(image)
    assert [channel.name for channel in found] == ["DAPI", None, "GFP"]
    assert [channel.color for channel in found] == ["0000FF", "FF0000", None]
    assert [channel.window for channel in found] == [(100.0, 2500.5), None, None]
    assert [channel.limits for channel in found] == [(0.0, 65535.0), None, None]


def test_bad_colours_and_windows_are_named(ome_file):
    inside = '<Channel Color="blue"/>'
    after = WINDOW.replace('"start">100<', '"start">9999<')
    with pytest.warns(NgffWarning, match=r"9999 to 2500\.5 is empty; channel colour 'blue' is no whole number"):
        open_image(ome_file(inside=inside, after=after))


def test_fewer_channel_elements_than_channels(ome_file):
    image = open_image(ome_file((1, 3, 1, 8, 10), inside='<Channel Name="DAPI"/>'))
    assert image.c.values.tolist() == ["DAPI", "", ""]


def test_modulo_axes_keep_a_dim_of_their_own(ome_file):
    after = (
        '<StructuredAnnotations><XMLAnnotation ID="Annotation:3" Namespace="openmicroscopy.org/omero/dimension/modulo">'
        '<Value><Modulo namespace="http://www.openmicroscopy.org/Schemas/Additions/2011-09"><ModuloAlongT '
        'Type="lifetime" Unit="ps" Start="0" Step="1000" End="2000"/></Modulo></Value></XMLAnnotation>'
        "</StructuredAnnotations>"
    )
    data = np.random.default_rng(2).integers(0, 999, (6, 2, 1, 8, 10), dtype=np.uint16)
    path = ome_file(data=data, image='<AnnotationRef ID="Annotation:3"/>', after=after)
    image = open_image(path)
    assert dict(image.sizes) == {"t": 2, "c": 2, "h": 3, "y": 8, "x": 10}
    np.testing.assert_array_equal(image, data.reshape(2, 3, 2, 8, 10).swapaxes(1, 2))


def test_planes_whose_indices_are_no_numbers_are_passed_over(ome_file):
    inside = '<Plane TheT="0" TheC="0" TheZ="first" PositionX="9"/>'
    assert grid(open_image(ome_file(pixels='PhysicalSizeX="1"', inside=inside)), "x")[0] == 0


def test_times_in_no_unit_of_time_are_named(ome_file):
    shape = (2, 1, 1, 8, 10)
    path = ome_file(shape, inside=planes(shape, lambda t, c, z: f'DeltaT="{t}" DeltaTUnit="µm"'))
    with pytest.warns(NgffWarning, match="DeltaT is in 'micrometer', which is no time"):
        image = open_image(path)
    assert "units" not in image.t.attrs


def test_a_time_increment_that_is_none_is_named(ome_file):
    path = ome_file((2, 1, 1, 8, 10), pixels='TimeIncrement="-2"')
    with pytest.warns(NgffWarning, match="TimeIncrement '-2' is no positive number"):
        open_image(path)
    # zero is what writers put that do not know
    assert grid(open_image(ome_file((2, 1, 1, 8, 10), pixels='TimeIncrement="0"')), "t") == (0.0, 1.0, None)


def test_an_empty_unit_is_none(ome_file):
    image = open_image(ome_file(pixels='PhysicalSizeX="2" PhysicalSizeXUnit=""'))
    assert image.x.attrs == {"spacing": 2.0}
