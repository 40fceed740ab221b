"""One stored picture becomes eight-bit pixels, or an error that names it."""
import io
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from ..memory import check_fits

# EPS (which starts another program) and the like stay out.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
MOST_PIXELS = 2**26  # a camera's largest picture; a header that claims more is refused before anything is unpacked
GREY = frozenset(("1", "L", "LA", "La"))

Stored = bytes | Path | Image.Image


def picture(content: Stored, where: str, size: int | None = None,
            channels: int | None = None) -> tuple[UInt8[np.ndarray, "H W C"], str]:
    """The pixels of one stored picture, [H, W, 1] if it is grey and [H, W, 3] (red, green, blue) otherwise, and its format.

    content: an encoded picture, a file or an open picture; where: its name in errors; size: cut to the middle square and
    resample (bicubic) to size x size; channels: 1 or 3 turns colour to grey (ITU-R 601 luma) or grey to colour. A camera's
    orientation mark is obeyed, palettes and CMYK become RGB, 16 bits become 8, transparent parts are shown on white, and of
    several frames the first is taken. Raises ValueError for anything that can't be decoded or has more than MOST_PIXELS.
    """
    if isinstance(content, Image.Image):
        return _pixels(content, where, size, channels), "pixels"
    try:
        with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as file:
            opened = Image.open(file, formats=FORMATS)
            if opened.width * opened.height > MOST_PIXELS:
                raise Image.DecompressionBombError(f"{opened.width} x {opened.height} pixels, and {MOST_PIXELS:,} are the most "
                                                   "that is unpacked (a decompression bomb?)")
            if size is not None and opened.format in ("JPEG", "MPO"):
                opened.draft(None, (2 * size, 2 * size))  # JPEG unpacks at a fraction of its size many times faster
            ImageOps.exif_transpose(opened, in_place=True)
            return _pixels(opened, where, size, channels), opened.format
    except (Unusable, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unusable(f"{where}: {error}. If it is what it should be, store it smaller") from error
    except Image.UnidentifiedImageError as error:
        raise Unusable(f"{where}: no picture in one of the formats {', '.join(FORMATS)}: replace or remove it") from error
    except OSError as error:
        if error.errno is not None:  # the file system's own complaint
            raise Unusable(f"{where}: can't be read ({error.strerror}): restore or remove it") from error
        raise Unusable(f"{where}: corrupt or cut short ({error}): replace or remove it") from error
    except Exception as error:  # on broken files Pillow's readers raise whatever comes: SyntaxError, struct.error, ...
        raise Unusable(f"{where}: corrupt ({type(error).__name__}: {error}): replace or remove it") from error


class Unusable(ValueError):
    """A picture that can't be used; the message says which, why and what to do."""


def _pixels(image, where, size, channels):
    shown = _eight_bit(image, where)
    if channels is not None:
        shown = shown.convert("L" if channels == 1 else "RGB")
    if size is not None:
        shown = ImageOps.fit(shown, (size, size))
    pixels = np.asarray(shown)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _eight_bit(image, where):
    """The picture as L or RGB."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion clips everything above 255
        return Image.fromarray(np.rint(np.asarray(image).astype(np.float32) / 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise Unusable(f"{where}: 32 bits per pixel have no known range: store it with 8 or 16 bits per channel")
    target = "L" if image.mode in GREY else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == target else image.convert(target)


def stack(contents: Iterable[tuple[str, Stored]], count: int, size: int | None,
          channels: int | None) -> tuple[UInt8[Tensor, "N H W C"], set[str]]:
    """`count` pictures of one size and kind, from (name, content) pairs, and the formats they were stored in.

    count: the number of labels. Raises ValueError if sizes or kinds are mixed, or fewer or more pictures come; MemoryError
    if they don't fit.
    """
    pictures, first, where, formats, came = None, "", "none", set(), 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for where, content in contents:
            came += 1
            if came > count:
                break
            pixels, stored_as = picture(content, where, size, channels)
            if pictures is None:
                check_fits(f"{count:,} pictures of {' x '.join(map(str, pixels.shape))}", count * pixels.size,
                           "size, or the number of pictures")
                pictures, first = np.empty((count, *pixels.shape), np.uint8), where
            elif pixels.shape != pictures.shape[1:]:
                raise ValueError(_mixed(where, pixels.shape, first, pictures.shape[1:]))
            pictures[came - 1] = pixels
            formats.add(stored_as)
    if came != count:
        raise ValueError(f"{'fewer' if came < count else 'more'} pictures than the {count} labels (last read: {where}): "
                         "write the files again")
    return torch.from_numpy(pictures), formats


def _mixed(where, shape, first, expected):
    if shape[:2] != expected[:2]:
        return (f"{where}: {shape[0]} x {shape[1]} pixels, but {first} has {expected[0]} x {expected[1]}: give size= to bring "
                "all pictures to one square size")
    kind = {1: "grey", 3: "in colour"}
    return (f"{where}: {kind[shape[2]]}, but {first} is {kind[expected[2]]}: give channels=1 to make all pictures grey, or "
            "channels=3")
