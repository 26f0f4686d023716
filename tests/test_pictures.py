"""What becomes of each kind of picture file, and which are refused by name."""

import struct
import warnings

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from prune_env.problem.pictures import EXTENSIONS, FORMATS, read_picture

DEEP = np.array([[0, 255, 256], [0x1234, 0x8000, 0xFFFF]], np.uint16)  # high bytes 0 0 1 18 128 255
HIGH = [[0, 0, 1], [18, 128, 255]]


def tiff(file, values, bits, *, photometric=1, kind=1, packed=None):
    """A little TIFF of one strip, as cameras and microscopes write it and Pillow does not."""
    height, width = values.shape
    strip = values.astype(f"<u{bits // 8}").tobytes() if packed is None else packed
    fields = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1}
    fields |= {278: height, 279: len(strip), 339: kind}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    header = b"II*\0" + struct.pack("<I", 8 + len(strip))
    file.write_bytes(header + strip + struct.pack("<H", len(fields)) + directory + bytes(4))
    return file


def test_the_extensions_are_torchvisions():
    assert EXTENSIONS == IMG_EXTENSIONS


@pytest.mark.parametrize("name", ["deep.png", "deep.tif", "deep.pgm"])
def test_of_16_bit_grey_the_high_byte_is_taken(tmp_path, name):
    file = tmp_path / name
    if name == "deep.pgm":
        file.write_bytes(b"P5 3 2 65535\n" + DEEP.astype(">u2").tobytes())
    else:
        Image.fromarray(DEEP).save(file)
    picture = read_picture(file)
    assert picture.shape == (3, 2, 3)
    assert all(channel.tolist() == HIGH for channel in picture)


def test_16_bit_colours_become_their_high_bytes_as_16_bit_grey_does(tmp_path):
    def png(kind, rows):
        import zlib

        def chunk(name, content):
            check = struct.pack(">I", zlib.crc32(name + content))
            return struct.pack(">I", len(content)) + name + content + check

        header = struct.pack(">IIBBBBB", 3, 2, 16, kind, 0, 0, 0)
        body = zlib.compress(b"".join(b"\0" + row for row in rows))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            chunk(*parts) for parts in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
        )

    big = DEEP.astype(">u2")
    (tmp_path / "colour.png").write_bytes(png(2, [np.repeat(row, 3).tobytes() for row in big]))
    (tmp_path / "grey.png").write_bytes(png(0, [row.tobytes() for row in big]))
    colour, grey = (read_picture(tmp_path / f"{name}.png") for name in ("colour", "grey"))
    assert colour.tolist() == grey.tolist() == [HIGH] * 3


def test_the_range_of_a_12_bit_tiff_is_12_bits(tmp_path):
    values = np.array([[0, 15], [16, 4095]])
    packed = bytes([0x00, 0x00, 0x0F, 0x01, 0x0F, 0xFF])
    file = tiff(tmp_path / "deep.tif", values, 12, packed=packed)
    assert read_picture(file)[0].tolist() == [[0, 0], [1, 255]]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_whose_white_is_zero_is_no_negative(tmp_path, bits):
    top = 2**bits - 1
    file = tiff(tmp_path / "white.tif", np.array([[0, top]]), bits, photometric=0)
    assert read_picture(file)[0].tolist() == [[255, 0]]


@pytest.mark.parametrize(("bits", "kind", "mode"), [(16, 2, "I"), (32, 1, "I"), (32, 3, "F")])
def test_numbers_of_unknown_range_are_refused_by_name(tmp_path, bits, kind, mode):
    file = tiff(tmp_path / "x.tif", np.array([[1, 2]]), bits, kind=kind)
    message = rf"`task` picture {file} has values of Pillow's mode '{mode}', .* 8 or 16 bits"
    with pytest.raises(ValueError, match=message):
        read_picture(file)


def test_floats_in_a_portable_map_are_refused_by_name(tmp_path):
    file = tmp_path / "x.ppm"
    file.write_bytes(b"Pf\n2 1\n-1.0\n" + np.array([0.5, 7.0], "<f4").tobytes())
    with pytest.raises(ValueError, match=r"x\.ppm has values of Pillow's mode 'F'"):
        read_picture(file)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, [255, 255, 255]),
        ("L", 9, [9, 9, 9]),
        ("LA", (9, 0), [9, 9, 9]),
        ("RGB", (1, 2, 3), [1, 2, 3]),
        ("RGBA", (8, 7, 6, 0), [8, 7, 6]),
    ],
)
def test_alpha_is_dropped_and_grey_repeated(tmp_path, mode, colour, expected):
    Image.new(mode, (2, 2), colour).save(tmp_path / "x.png")
    assert read_picture(tmp_path / "x.png")[:, 0, 0].tolist() == expected


def test_a_transparent_palette_keeps_its_colours_and_warns_of_nothing(tmp_path):
    picture = Image.new("P", (2, 1))
    picture.putpalette([1, 2, 3, 4, 5, 6])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "x.png", transparency=bytes([0, 128]))
    assert read_picture(tmp_path / "x.png")[:, 0].T.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "x.jpg")
    red, green, blue = read_picture(tmp_path / "x.jpg")[:, 0, 0].tolist()
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.webp"])
def test_an_animation_and_several_pages_are_refused_by_name(tmp_path, name):
    frames = [Image.new("RGB", (16, 16), (value, 0, 0)) for value in (200, 10, 90)]
    options = {"lossless": True} if name == "x.webp" else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    message = rf"`task` picture .*{name} must be one picture, got 3 pages or frames; save each"
    with pytest.raises(ValueError, match=message):
        read_picture(tmp_path / name)


def test_a_camera_s_jpeg_with_previews_is_its_first_picture(tmp_path):
    frames = [Image.new("RGB", (16, 16), (value, 0, 0)) for value in (200, 10)]
    frames[0].save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert read_picture(tmp_path / "x.jpg")[0].unique().tolist() == [200]


def test_a_picture_is_turned_as_its_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save(tmp_path / "x.jpg", exif=exif)
    Image.fromarray(DEEP).save(tmp_path / "x.png", exif=exif)
    assert read_picture(tmp_path / "x.jpg").shape == (3, 4, 2)
    assert read_picture(tmp_path / "x.png")[0].tolist() == np.rot90(HIGH, 3).tolist()


def test_the_content_decides_whatever_the_extension_says(tmp_path):
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "x.jpg")
    assert read_picture(tmp_path / "x.jpg")[:, 0, 0].tolist() == [1, 2, 3]


def test_postscript_under_another_name_reaches_no_interpreter(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it ran"))
    file = tmp_path / "x.png"
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n")
    with Image.open(file) as opened:
        assert opened.format == "EPS"  # to Pillow, left to itself
    with pytest.raises(ValueError, match=rf"`task` picture {file} cannot be read as JPEG, PNG"):
        read_picture(file)


def test_a_gif_is_none_of_the_formats(tmp_path):
    assert "GIF" not in FORMATS
    Image.new("L", (2, 2)).save(tmp_path / "x.gif")
    with pytest.raises(ValueError, match=r"x\.gif cannot be read as JPEG, .*; repair or remove it"):
        read_picture(tmp_path / "x.gif")


@pytest.mark.parametrize("shown", ["error", "ignore"])
@pytest.mark.parametrize("size", [(10, 11), (15, 15)])  # Pillow warns of the first
def test_a_decompression_bomb_is_named_and_no_setting_is_touched(
    tmp_path, monkeypatch, size, shown
):
    Image.new("1", size).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter(shown)
        filters = list(warnings.filters)
        with pytest.raises(
            ValueError,
            match=r"`task` picture .*x\.png is too large .*[12]00 ",
        ):
            read_picture(tmp_path / "x.png")
        assert warnings.filters == filters
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif", "x.webp", "x.bmp"])
def test_a_truncated_picture_is_named(tmp_path, name):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(256, size=(40, 40, 3), dtype=np.uint8)).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=rf"`task` picture .*{name} cannot be read"):
        read_picture(tmp_path / name)


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif", "x.webp", "x.bmp", "x.ppm"])
def test_damage_gives_a_picture_or_an_error_that_names_it(tmp_path, name):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(256, size=(12, 10, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / name, **({} if name in ("x.bmp", "x.ppm") else {"exif": exif}))
    whole = (tmp_path / name).read_bytes()
    outcomes = set()
    for _ in range(60):
        changed = bytearray(whole)
        for place in rng.integers(min(len(whole), 400), size=4):
            changed[place] = rng.integers(256)
        (tmp_path / name).write_bytes(changed)
        try:
            outcomes.add(read_picture(tmp_path / name).shape[0])
        except ValueError as error:
            outcomes.add("named" if name in str(error) else str(error))
    assert outcomes <= {3, "named"}
    assert "named" in outcomes
