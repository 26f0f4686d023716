"""Picture files to tensors: what each kind of file becomes, and which kinds are refused."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")  # that files of these names are opened as
_WITH_PREVIEWS = ("JPEG", "MPO")  # MPO is what Pillow calls a JPEG with others in its file
_BYTES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
_DEEP = {"I;16", "I;16L", "I;16B", "I;16N"}
_BITS, _PHOTOMETRIC = 258, 262  # TIFF's BitsPerSample and PhotometricInterpretation
_WHITE_IS_ZERO = 0
# What Pillow's readers raise for damaged files; a Warning where warnings are errors.
_UNREADABLE = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError),
    *(AttributeError, RuntimeError, MemoryError, struct.error, zlib.error, Warning),
)


def read_picture(file: Path | str, side: int | None = None) -> Tensor:
    """Decode a picture to (3, height, width) uint8, turned as its camera says.

    Grey is repeated for the three channels. Of 16-bit pictures, grey or coloured, the high byte is
    taken: the range is the type's, whatever values there are (of a 12-bit TIFF, 12 bits). Alpha is
    dropped: a transparent pixel has the colour that it has beneath. CMYK is converted without a
    colour profile. Beside a camera's JPEG there may be others in its file, such as a preview, which
    are not looked at.

    Args:
        file: one of `FORMATS`, whatever its extension says.
        side: resizes the shorter edge and centre-crops to so many pixels.

    Raises:
        ValueError: if it is of another format, cannot be read, has more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS`, is an animation or has several pages, or has numbers whose
            range is unknown: integers of 32 bits or with a sign, or floats.
    """
    try:
        with Image.open(file, formats=FORMATS) as opened:
            refusal = _refusal(opened)
            picture = None if refusal else _coloured(opened)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        refusal = f"is too large ({error}); make it smaller"
    except _UNREADABLE as error:
        refusal = f"cannot be read as {', '.join(FORMATS)} ({error}); repair or remove it"
    if refusal or picture is None:
        raise ValueError(f"`task` picture {file} {refusal}")
    if side is not None:
        picture = ImageOps.fit(picture, (side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def _refusal(opened: Image.Image) -> str:
    """Why a picture is not taken, after its name and with the way out; nothing if it is."""
    limit = Image.MAX_IMAGE_PIXELS  # of twice as many Pillow makes an error itself
    if limit is not None and opened.width * opened.height > limit:
        size = f"{opened.width} x {opened.height}"
        return f"is too large ({size} pixels, and {limit} are allowed); make it smaller"
    pages = 1 if opened.format in _WITH_PREVIEWS else getattr(opened, "n_frames", 1)
    if pages > 1:
        return f"must be one picture, got {pages} pages or frames; save each as a file of its own"
    if opened.mode in _BYTES or _depth(opened):
        return ""
    return (
        f"has values of Pillow's mode {opened.mode!r}, whose range or way to RGB is unknown; save "
        "it as grey or RGB of 8 or 16 bits without a sign, scaled as it should be seen"
    )


def _depth(opened: Image.Image) -> int:
    """Bits of a grey value of more than 8, or 0."""
    if opened.mode in _DEEP:
        return int(_tags(opened).get(_BITS, (16,))[0])
    # Pillow scales these two to 16 bits, whatever they are written with.
    return 16 if opened.mode == "I" and opened.format in ("PNG", "PPM") else 0


def _tags(opened: Image.Image) -> Any:
    return getattr(opened, "tag_v2", {})


def _coloured(opened: Image.Image) -> Image.Image:
    """Turned, and as RGB."""
    bits, photometric = _depth(opened), _tags(opened).get(_PHOTOMETRIC)
    picture = ImageOps.exif_transpose(opened)
    if bits:
        values = np.asarray(picture).astype(np.int64)
        if photometric == _WHITE_IS_ZERO:  # Pillow sees to that up to 8 bits only
            values = 2**bits - 1 - values
        picture = Image.fromarray((values >> bits - 8).astype(np.uint8))
    if picture.mode in ("P", "PA"):  # whose transparency Pillow warns of on the way to RGB
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


class PictureFiles:
    """Picture files as a map-style dataset: pairs of a picture (3, SIDE, SIDE) uint8 and 0.

    Their names are held as one array of bytes, which processes share; a list of them would be
    copied by each, as it counts who looks at its texts.

    Args:
        paths: of the files.
        side: pixels, to which every picture is resized and centre-cropped.
    """

    def __init__(self, paths: Sequence[str], side: int):
        names = [os.fsencode(path) for path in paths]
        self._names = np.frombuffer(b"".join(names), np.uint8)
        self._ends = np.cumsum([len(name) for name in names], dtype=np.int64)
        self._side = side

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        """Decode one."""
        start = 0 if row == 0 else int(self._ends[row - 1])
        name = self._names[start : int(self._ends[row])].tobytes()
        return read_picture(os.fsdecode(name), self._side), 0
