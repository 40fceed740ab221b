"""One stored picture: what is shown of it, and what is refused."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import GREY, RED, bomb, stored
from PIL import Image

from mrpbook.images import decoding


def pixels(content, **options):
    return decoding.picture(content, "here", **options)[0]


def test_grey_stays_one_channel_and_colour_three():
    assert np.array_equal(pixels(stored(GREY))[..., 0], GREY)
    assert np.array_equal(pixels(stored(RED)), RED)
    assert pixels(stored(Image.fromarray(GREY > 99))).max() == 255


@pytest.mark.parametrize("mode, kind", [("P", "PNG"), ("P", "GIF"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG"),
                                        ("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGB", "BMP"), ("RGB", "PPM")])
def test_palettes_cmyk_and_the_like_become_the_colour_they_show(mode, kind):
    content = stored(Image.fromarray(RED).convert(mode, palette=Image.Palette.ADAPTIVE), kind)
    assert np.abs(pixels(content).astype(int) - RED).max() <= 8


def test_sixteen_bits_are_scaled_and_not_clipped():
    deep = (np.arange(16, dtype=np.uint16) * 4369).reshape(4, 4)  # 0 to 65535
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(pixels(stored(deep, kind))[..., 0].ravel(), np.arange(16) * 17)


def test_thirty_two_bits_have_no_known_range():
    with pytest.raises(ValueError, match="here: 32 bits per pixel"):
        pixels(stored(GREY.astype(np.float32), "TIFF"))


def test_transparent_parts_are_shown_on_white():
    clear = Image.fromarray(np.dstack([RED, np.array([0, 255, 0, 255] * 4, np.uint8).reshape(4, 4)]), "RGBA")
    shown = pixels(stored(clear))
    assert (shown[:, 0] == 255).all() and np.array_equal(shown[:, 1], RED[:, 1])
    assert pixels(stored(Image.fromarray(np.dstack([GREY, GREY * 0]), "LA"))).shape == (4, 4, 1)
    keyed = Image.fromarray(GREY)
    assert pixels(stored(keyed, transparency=16))[0, 1] == 255  # a grey level marked as transparent


def test_the_cameras_orientation_is_obeyed():
    wide = Image.fromarray(np.arange(8, dtype=np.uint8).reshape(2, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to show
    for kind in ("PNG", "TIFF"):
        turned = pixels(stored(wide, kind, exif=exif))[..., 0]
        assert np.array_equal(turned, np.rot90(np.asarray(wide), -1))
    assert pixels(stored(wide, "JPEG", exif=exif)).shape == (4, 2, 1)


def test_resampling_cuts_the_middle_square_and_leaves_a_fitting_picture_alone():
    wide = np.hstack([RED * 0, RED, RED * 0])
    assert np.array_equal(pixels(stored(wide), size=4), RED)
    assert np.array_equal(pixels(stored(GREY), size=4)[..., 0], GREY)
    assert pixels(stored(GREY), size=9).shape == (9, 9, 1)


def test_a_large_jpeg_is_resampled_to_nearly_what_a_png_gives():
    y, x = np.mgrid[:480, :640]
    smooth = np.stack([x * 255 // 640, y * 255 // 480, (x + y) % 255], -1).astype(np.uint8)
    off = pixels(stored(smooth, "JPEG", quality=95), size=32).astype(int) - pixels(stored(smooth), size=32)
    assert np.abs(off).mean() < 3


def test_channels_turn_grey_to_colour_and_back():
    assert np.array_equal(pixels(stored(GREY), channels=3), np.repeat(GREY[..., None], 3, -1))
    assert pixels(stored(RED), channels=1).shape == (4, 4, 1)


def test_of_several_frames_the_first_is_taken():
    content = stored(Image.fromarray(RED), "TIFF", save_all=True, append_images=[Image.fromarray(GREY)])
    assert np.array_equal(pixels(content), RED)


def test_a_bomb_is_refused_by_its_header_by_pillow_or_by_us(monkeypatch):
    for content in (bomb(60000, 60000), bomb(12000, 8000), bomb(8200, 8200)):
        with pytest.raises(ValueError, match="bomb.*store it smaller"):
            decoding.stack([("here", content)], 1, None, None)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # some programs switch Pillow's own guard off
    with pytest.raises(ValueError, match="here: 60000 x 60000 pixels, and 67,108,864 are the most"):
        pixels(bomb(60000, 60000))


def test_formats_that_start_other_programs_are_no_pictures():
    with pytest.raises(ValueError, match="here: no picture in one of the formats BMP, GIF, JPEG"):
        pixels(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")


def test_fewer_or_more_pictures_than_labels_are_refused():
    for pictures, labels, what in [(0, 1, "fewer"), (1, 2, "fewer"), (3, 2, "more")]:
        with pytest.raises(ValueError, match=f"{what} pictures than the {labels} labels"):
            decoding.stack([("here", stored())] * pictures, labels, None, None)


WHOLE = [stored(Image.effect_noise((9, 7), 90), kind) for kind in ("PNG", "GIF", "JPEG", "BMP", "TIFF", "WEBP", "PPM")]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@given(st.sampled_from(WHOLE), st.data())
def test_damaged_pictures_are_refused_by_name_or_still_pictures(content, data):
    cut = bytearray(content[:data.draw(st.integers(0, len(content)))])
    for at in data.draw(st.lists(st.integers(0, max(len(cut) - 1, 0)), max_size=3)) if cut else ():
        cut[at] = data.draw(st.integers(0, 255))
    try:
        shown = pixels(bytes(cut))
    except ValueError as error:
        assert str(error).startswith("here: ")
    else:
        assert shown.dtype == np.uint8 and shown.ndim == 3
