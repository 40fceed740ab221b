"""Pictures in class folders: what arrives, and what is said of what can't."""
import json
import os
from pathlib import Path

import numpy as np
import pytest
from image_files import GREY, classes, put, stored

from mrpbook.images import sources


def test_a_folder_gives_its_classes_in_the_order_of_their_names(tmp_path):
    images = sources.load(classes(tmp_path, "dog", "cat"))
    assert images.names == ("cat", "dog") and images.labels.tolist() == [0, 0, 1, 1]
    assert images.pictures[:, 0, 0, 0].tolist() == [0, 10, 0, 10]
    assert images.licence.startswith("unknown") and str(tmp_path) not in images.source
    assert sources.load(tmp_path, licence="CC0").licence == "CC0"


def test_pictures_are_found_below_sub_folders_and_by_suffixes_in_capitals(tmp_path):
    put(classes(tmp_path, "cat", "dog") / "cat" / "more" / "x.PNG")
    assert len(sources.load(tmp_path)) == 5


def test_splits_of_a_folder_share_one_numbering(tmp_path):
    classes(tmp_path / "train", "ant", "bee", "cat")
    classes(tmp_path / "Val", "bee", "cat")
    validation = sources.load(tmp_path, "validation")
    assert validation.names == ("ant", "bee", "cat") and validation.labels.tolist() == [1, 1, 2, 2]
    with pytest.raises(ValueError, match="has the splits train, validation: choose one with split="):
        sources.load(tmp_path)
    with pytest.raises(ValueError, match="split = 'test': .* has only train, validation"):
        sources.load(tmp_path, "test")
    with pytest.raises(ValueError, match="split = 'test': .* no sub-folders train, test"):
        sources.load(tmp_path / "train", "test")


def test_other_files_are_left_out_with_a_warning_and_hidden_ones_in_silence(tmp_path, recwarn):
    classes(tmp_path, "cat", "dog")
    put(tmp_path / "cat" / ".DS_Store"), put(tmp_path / "cat" / "._0.png", b"?"), put(tmp_path / ".cache" / "x.png")
    assert len(sources.load(tmp_path)) == 4 and not recwarn.list
    put(tmp_path / "cat" / "notes.txt"), put(tmp_path / "README.md")
    with pytest.warns(UserWarning, match=r"2 files are not pictures in class folders.*README\.md.*notes\.txt"):
        assert len(sources.load(tmp_path)) == 4


def test_a_folder_called_digits_is_reached_by_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(classes(tmp_path / "digits", "one", "two").parent)
    assert sources.load(Path("digits")).names == sources.load("./digits").names == ("one", "two")
    assert len(sources.load("digits")) == 1797


def test_names_in_any_script_arrive_composed(tmp_path):
    classes(tmp_path, "e\u0301clair", "猫", "Ääkköset")
    images = sources.load(tmp_path)
    assert set(images.names) == {"\u00e9clair", "猫", "Ääkköset"}


def test_a_name_that_is_no_text_can_still_be_printed(tmp_path):
    try:
        classes(tmp_path, "cat", os.fsdecode(b"b\xffd"))
    except OSError:
        pytest.skip("this file system takes only names that are text")
    images = sources.load(tmp_path)
    assert images.names == ("b\ufffdd", "cat") and json.dumps(images.names).encode()


def test_an_empty_folder_an_empty_class_and_loose_pictures_are_told_apart(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}: empty: sub-folders with pictures"):
        sources.load(tmp_path)
    put(tmp_path / "x.png")
    with pytest.raises(ValueError, match="side by side: put them into one sub-folder per class"):
        sources.load(tmp_path)
    classes(tmp_path, "cat", "dog")
    (tmp_path / "eel").mkdir()
    with pytest.raises(ValueError, match="eel: no pictures in this class folder"):
        sources.load(tmp_path)


def test_one_class_only_is_refused(tmp_path):
    with pytest.raises(ValueError, match="only the class 'cat': expected pictures of at least two classes"):
        sources.load(classes(tmp_path, "cat"))


def test_links_are_followed_but_not_in_circles(tmp_path):
    classes(tmp_path / "a", "cat", "dog")
    classes(tmp_path, "store")
    (tmp_path / "a" / "fox").symlink_to(tmp_path / "store")
    assert sources.load(tmp_path / "a").names == ("cat", "dog", "fox")
    (tmp_path / "a" / "cat" / "back").symlink_to(tmp_path / "a")
    with pytest.raises(ValueError, match="back: a link back to .*a, which contains it: remove the link"):
        sources.load(tmp_path / "a")


def test_a_link_to_nothing_or_to_itself_is_named(tmp_path):
    classes(tmp_path, "cat", "dog")
    link = tmp_path / "cat" / "z.png"
    for target in ("gone.png", "z.png"):
        link.symlink_to(target)
        with pytest.raises(ValueError, match=r"z\.png: can't be read \(.*\): restore or remove it"):
            sources.load(tmp_path)
        link.unlink()


def test_a_corrupt_file_is_named(tmp_path):
    bad = put(classes(tmp_path, "cat", "dog") / "dog" / "1.png", stored(GREY)[:60])
    with pytest.raises(ValueError, match=r"dog.1\.png: corrupt.*: replace or remove it"):
        sources.load(tmp_path)
    bad.write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"dog.1\.png: no picture in one of the formats"):
        sources.load(tmp_path)


def test_mixed_sizes_are_refused_unless_a_size_is_given(tmp_path):
    put(classes(tmp_path, "cat", "dog") / "dog" / "1.png", stored(np.zeros((5, 7, 3), np.uint8)))
    with pytest.raises(ValueError, match=r"dog.1\.png: 5 x 7 pixels, but .*cat.0\.png has 4 x 4: give size="):
        sources.load(tmp_path)
    assert sources.load(tmp_path, size=6).pictures.shape == (4, 6, 6, 3)


def test_mixed_grey_and_colour_are_refused_unless_channels_are_given(tmp_path):
    put(classes(tmp_path, "cat", "dog") / "dog" / "1.png", stored(GREY))
    with pytest.raises(ValueError, match=r"dog.1\.png: grey, but .*cat.0\.png is in colour: give channels=1"):
        sources.load(tmp_path)
    assert [sources.load(tmp_path, channels=c).pictures.shape[3] for c in (1, 3)] == [1, 3]


def test_a_missing_path_and_bad_numbers_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="source = 'uoft-cs/cifar10': no such file or folder; expected 'digits'.*'hub:"):
        sources.load("uoft-cs/cifar10")
    with pytest.raises(ValueError, match="size = 0: expected an integer >= 1"):
        sources.load(size=0)
    with pytest.raises(ValueError, match="channels = 2: expected one of None, 1, 3"):
        sources.load(channels=2)


def test_more_pictures_than_fit_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    from mrpbook import memory
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda: 100)
    with pytest.raises(MemoryError, match="4 pictures of 4 x 4 x 3 needs"):
        sources.load(classes(tmp_path, "cat", "dog"))
