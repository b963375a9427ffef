"""OME-XML that is broken, hostile, elsewhere, or names files and planes that are not there."""

import shutil

import numpy as np
import pytest
import tifffile
import xarray as xr

from xarray_ngff.backends.ome_tiff.entrypoint import OmeTiffEntrypoint
from xarray_ngff.errors import FormatError, MetadataError, MissingFileError, NgffWarning


def open_image(path, **options):
    return xr.open_dataarray(path, engine=OmeTiffEntrypoint, **options)


MULTI = [f"bf_multi_c{c}_t{t}.ome.tiff" for c in range(2) for t in range(2)]


@pytest.mark.parametrize("name", MULTI)
def test_a_data_set_of_files_opens_from_any_of_them(real, name):
    image = open_image(real(f"multi/{name}"))
    assert dict(image.sizes) == {"t": 2, "c": 2, "z": 3, "y": 50, "x": 70}
    for c, t in np.ndindex(2, 2):
        with tifffile.TiffFile(real(f"multi/bf_multi_c{c}_t{t}.ome.tiff"), _multifile=False) as tif:
            truth = np.stack([page.asarray() for page in tif.pages])
        np.testing.assert_array_equal(image.isel(c=c, t=t), truth)


def test_a_crop_of_a_data_set_opens_only_its_file(real, tmp_path):
    for name in MULTI:
        shutil.copy(real(f"multi/{name}"), tmp_path)
    image = open_image(tmp_path / MULTI[0])
    truth = image.isel(c=1, t=0).values
    for name in (MULTI[0], MULTI[1], MULTI[3]):
        (tmp_path / name).unlink()
    np.testing.assert_array_equal(image.isel(c=1, t=0), truth)


def test_a_file_that_is_missing_is_named_at_opening(real, tmp_path):
    for name in MULTI:
        shutil.copy(real(f"multi/{name}"), tmp_path)
    (tmp_path / MULTI[2]).unlink()
    with pytest.raises(MissingFileError, match=rf"planes are in .*{MULTI[2]}, which does not exist"):
        open_image(tmp_path / MULTI[0])


def test_a_file_that_is_cut_off_is_named_at_opening(real, tmp_path):
    for name in MULTI:
        shutil.copy(real(f"multi/{name}"), tmp_path)
    with (tmp_path / MULTI[3]).open("r+b") as file:
        file.truncate(9000)
    with pytest.raises(FormatError, match=rf"{MULTI[3]} is truncated"):
        open_image(tmp_path / MULTI[0])


def test_a_file_that_was_renamed_opens(real, tmp_path):
    path = tmp_path / "renamed.tif"
    shutil.copy(real("bf_bigtiff.ome.tiff"), path)
    np.testing.assert_array_equal(open_image(path), tifffile.imread(real("bf_bigtiff.ome.tiff")))


def test_a_renamed_file_without_an_id_of_its_own_opens(ome_file):
    inside = "".join(
        f'<TiffData IFD="{z}" FirstZ="{z}" PlaneCount="1"><UUID FileName="other.ome.tif">urn:uuid:1</UUID></TiffData>'
        for z in range(3)
    )
    path = ome_file((1, 1, 3, 8, 10), inside=inside)
    with pytest.warns(NgffWarning, match=r"names other\.ome\.tif, which does not exist, as the only file"):
        image = open_image(path)
    np.testing.assert_array_equal(image, np.arange(240).reshape(3, 8, 10))


def test_metadata_in_another_tiff(ome_file, tmp_path):
    shape = (1, 1, 2, 8, 10)
    blocks = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"><UUID FileName="z{z}.ome.tif">urn:uuid:{z}</UUID></TiffData>'
        for z in range(2)
    )
    first = np.full(shape, 3, np.uint16)
    ome_file(data=first[:, :, :1], name="z0.ome.tif", sizes={"Z": 2}, inside=blocks, root='UUID="urn:uuid:0"')
    only = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><BinaryOnly '
    xml = only + 'MetadataFile="z0.ome.tif" UUID="urn:uuid:0"/></OME>'
    path = ome_file(data=first[:, :, :1] + 1, name="z1.ome.tif", xml=xml)
    image = open_image(path)
    np.testing.assert_array_equal(image.isel(y=0, x=0), [3, 4])
    (tmp_path / "z0.ome.tif").unlink()
    with pytest.raises(MissingFileError, match=r"its OME-XML is in .*z0\.ome\.tif, which does not exist"):
        open_image(path)


def test_metadata_in_a_companion_file(ome_file, tmp_path):
    only = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:9"><BinaryOnly '
    xml = only + 'MetadataFile="about/set.companion.ome" UUID="urn:uuid:8"/></OME>'
    data = np.zeros((1, 1, 1, 8, 10), np.uint16)
    (tmp_path / "about").mkdir()
    paths = [ome_file(data=data + z, name=f"z{z}.ome.tif", xml=xml) for z in range(2)]
    blocks = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"><UUID FileName="../z{z}.ome.tif">urn:uuid:{z}</UUID></TiffData>'
        for z in range(2)
    )
    (tmp_path / "about/set.companion.ome").write_text(
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:8"><Image ID="Image:0" Name="s">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="10" SizeY="8" SizeZ="2" SizeC="1" SizeT="1" '
        f'PhysicalSizeZ="3"><Channel/>{blocks}</Pixels></Image></OME>',
        "utf-8",
    )
    for path in paths:
        image = open_image(path)
        np.testing.assert_array_equal(image.isel(y=0, x=0), [0, 1])
        np.testing.assert_array_equal(image.z, [0, 3])


@pytest.mark.parametrize("cut", [0.3, 0.9, 0.999])
def test_broken_xml_is_named(ome_file, cut):
    whole = tifffile.tiffcomment(ome_file())
    with pytest.raises(MetadataError, match=r"image\.ome\.tif: OME-XML is broken XML"):
        open_image(ome_file(xml=whole[: int(len(whole) * cut)]))


def test_entities_are_not_expanded(ome_file):
    whole = tifffile.tiffcomment(ome_file())
    levels = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    head, _, rest = whole.partition("<OME")
    hostile = f'{head}<!DOCTYPE OME [<!ENTITY a0 "ha">{levels}]><OME{rest.replace("cells", "&a9;")}'
    path = ome_file(xml=hostile)
    with pytest.raises(MetadataError, match=r"^[^(]*image\.ome\.tif: tag 270 has a document type declaration"):
        open_image(path)


def test_a_comment_may_speak_of_entities(ome_file):
    whole = tifffile.tiffcomment(ome_file())
    assert open_image(ome_file(xml=whole.replace("<Image", "<!-- no <!DOCTYPE here --><Image", 1))).shape == (8, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('DimensionOrder="XYZCT"', 'DimensionOrder="XYZ"'), "DimensionOrder 'XYZ', expected XY and then Z, C, T"),
        (('SizeX="10"', 'SizeX="ten"'), "whole numbers above 0"),
        (('SizeX="10"', 'SizeX="-3"'), "whole numbers above 0"),
        (('SizeZ="1"', ""), "whole numbers above 0"),
        (("<Pixels", "<Voxels"), "broken XML"),
    ],
    ids=["order", "text", "negative", "absent", "name"],
)
def test_sizes_that_say_nothing_are_named(ome_file, change, message):
    whole = tifffile.tiffcomment(ome_file())
    with pytest.raises(MetadataError, match=message):
        open_image(ome_file(xml=whole.replace(*change)))


def test_planes_that_are_listed_but_not_there(ome_file):
    blocks = "".join(f'<TiffData IFD="{z}" FirstZ="{z}"/>' for z in range(5))
    path = ome_file((1, 1, 3, 8, 10), sizes={"Z": 5}, inside=blocks)
    with pytest.raises(FormatError, match=r"image\.ome\.tif is truncated: 2 of 5 planes .* the first is t=0, c=0, z=3"):
        open_image(path)


def test_planes_that_are_not_listed_read_as_zero(ome_file):
    blocks = "".join(f'<TiffData IFD="{z}" FirstZ="{z}"/>' for z in range(3))
    path = ome_file((1, 1, 3, 8, 10), sizes={"Z": 5}, inside=blocks)
    with pytest.warns(NgffWarning, match=r"2 of 5 planes of image 0 are in no file and read as 0, from t=0, c=0, z=3"):
        image = open_image(path)
    np.testing.assert_array_equal(image.isel(z=slice(3)), np.arange(240).reshape(3, 8, 10))
    assert not image.isel(z=slice(3, None)).any()


def test_planes_that_are_listed_outside_are_named(ome_file):
    blocks = "".join(f'<TiffData IFD="{z}" FirstZ="{z}"/>' for z in range(3))
    path = ome_file((1, 1, 3, 8, 10), sizes={"Z": 2}, inside=blocks)
    with pytest.warns(NgffWarning, match="lists planes outside of image 0"):
        assert open_image(path).sizes["z"] == 2


@pytest.mark.parametrize("sizes", [{"X": 11}, {"X": 5, "Z": 2}])
def test_sizes_that_planes_contradict_are_named(ome_file, sizes):
    path = ome_file((1, 1, 3, 8, 10), sizes=sizes)
    with pytest.warns(NgffWarning, match="images 0 of its OME-XML have sizes that no pages fit"):
        image = open_image(path)
    np.testing.assert_array_equal(image, np.arange(240).reshape(3, 8, 10))


def test_metadata_elsewhere_of_which_nothing_is_said(ome_file):
    start = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><BinaryOnly'
    with pytest.raises(MetadataError, match="OME-XML is in another file, but is not said in which"):
        open_image(ome_file(xml=f"{start}/></OME>"))
    with pytest.raises(MetadataError, match="which has none either"):
        open_image(ome_file(xml=f'{start} MetadataFile="image.ome.tif"/></OME>'))


def test_levels_without_all_planes_are_named(tmp_path):
    path = tmp_path / "lost.ome.tif"
    options = {"photometric": "minisblack", "tile": (16, 16)}
    base = np.zeros((2, 32, 32), np.uint8)
    with tifffile.TiffWriter(path) as tif:
        tif.write(base, subifds=1, metadata={"axes": "ZYX"}, **options)
        tif.write(base[:, ::2, ::2], subfiletype=1, **options)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[1].tags["SubIFDs"].overwrite(0)
    assert open_image(path).shape == (2, 32, 32)
    with pytest.raises(FormatError, match=r"level 1 of series 'Image0' misses 1 of 2 planes\. Open level 0"):
        open_image(path, level=1)


@pytest.mark.parametrize("key", ["PlaneCount", "NumPlanes"])
def test_a_count_of_planes_beyond_the_image_claims_no_memory(ome_file, key):
    path = ome_file((2, 1, 3, 8, 10), inside=f'<TiffData IFD="0" {key}="99999999999999"/>')
    with pytest.warns(NgffWarning, match=r"lists planes outside of image 0"):
        image = open_image(path)
    np.testing.assert_array_equal(image, tifffile.imread(path, key=slice(None)).reshape(2, 3, 8, 10))


def test_more_planes_than_a_file_has_bytes_claim_no_memory(ome_file):
    path = ome_file((2, 1, 3, 8, 10), sizes={"T": 10**12})
    with pytest.raises(FormatError, match=r"image 0 of its OME-XML has sizes .*, 3000000000000 planes, which are more"):
        open_image(path)


def test_a_modulo_axis_of_absurd_length_is_named(ome_file):
    along = '<ModuloAlongZ Type="angle" Start="0" End="1e15" Step="1e-3"/>'
    path = ome_file(
        (1, 1, 4, 8, 10),
        image='<AnnotationRef ID="A:0"/>',
        after='<StructuredAnnotations><XMLAnnotation ID="A:0" Namespace="openmicroscopy.org/omero/dimension/modulo">'
        f"<Value><Modulo>{along}</Modulo></Value></XMLAnnotation></StructuredAnnotations>",
    )
    with pytest.raises(FormatError, match=r"image\.ome\.tif: its structure contradicts itself"):
        open_image(path)


@pytest.mark.parametrize("name", ["folder", "long" * 100])
def test_a_name_that_is_no_file_is_named(ome_file, tmp_path, name):
    (tmp_path / "folder").mkdir()
    blocks = (
        f'<TiffData FirstC="{c}" IFD="0"><UUID FileName="{file}">urn:uuid:{c}</UUID></TiffData>'
        for c, file in enumerate(("image.ome.tif", name))
    )
    path = ome_file((1, 2, 1, 8, 10), inside="".join(blocks))
    with pytest.raises(MissingFileError, match=rf"planes are in .*{name}, which does not exist"):
        open_image(path)
    pointer = f'<OME><BinaryOnly MetadataFile="{name}" UUID="urn:uuid:1"/></OME>'
    with pytest.raises(MissingFileError, match=rf"its OME-XML is in .*{name}, which does not exist"):
        open_image(ome_file(xml=pointer))
