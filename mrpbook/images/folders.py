"""Pictures in one sub-folder per class."""
import os
import re
import unicodedata
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from jaxtyping import Int64

from .decoding import SUFFIXES, Stored

SPLIT_WORDS = {"train": ("train", "training"), "validation": ("validation", "valid", "val", "dev"),
               "test": ("test", "testing", "eval", "evaluation")}
SPLIT_OF = {word: split for split, words in SPLIT_WORDS.items() for word in words}


@dataclass(frozen=True)
class Rows:
    """What a layout holds: class names, a label per picture [N], and (name in errors, content) per picture, not yet decoded."""

    names: tuple[str, ...]
    labels: Int64[np.ndarray, "N"]
    contents: Iterable[tuple[str, Stored]]


def split_of(path: PurePath) -> str | None:
    """The split that a path's words name, the word nearest to its end first: data/train-00000.parquet -> train."""
    words = re.split(r"[^a-z]+", path.as_posix().lower())
    return next((SPLIT_OF[word] for word in reversed(words) if word in SPLIT_OF), None)


def rows(folder: Path, split: str | None) -> Rows:
    """The pictures of folder/class/..., or folder/split/class/..., in the order of their names.

    Classes are numbered in the order of their names (over all splits, so that labels agree between them). Hidden files are
    passed over; other files without a picture's suffix are left out with a warning that names them. Links are followed.
    Raises ValueError for an empty folder or class and for links that lead back to a folder around them.
    """
    below = _sub_folders(folder)
    named = {sub: SPLIT_OF[sub.name.lower()] for sub in below if sub.name.lower() in SPLIT_OF}
    present = ", ".join(sorted(set(named.values())))
    if split is not None and split not in named.values():
        raise ValueError(f"split = {split!r}: {folder} has {f'only {present}' if named else 'no sub-folders train, test, ...'}")
    if split is None and below and len(named) == len(below) > 1:
        raise ValueError(f"{folder} has the splits {present}: choose one with split=")
    in_splits = bool(named) and len(named) == len(below) or split is not None
    roots = list(named) if in_splits else [folder]
    names = sorted({_name(sub) for root in roots for sub in _sub_folders(root)})
    number = {name: n for n, name in enumerate(names)}
    left_out, labels, files = [], [], []
    for root in (root for root in roots if not in_splits or split in (None, named[root])):
        left_out += [entry for entry in root.iterdir() if entry.is_file() and not entry.name.startswith(".")]
        _check_classes(root, left_out)
        for sub in _sub_folders(root):
            found = list(_pictures(sub, (root.resolve(), sub.resolve()), left_out))
            if not found:
                raise ValueError(f"{sub}: no pictures in this class folder ({', '.join(sorted(SUFFIXES))}): fill or remove it")
            files += found
            labels += [number[_name(sub)]] * len(found)
    if left_out:
        shown = ", ".join(str(path) for path in left_out[:5]) + (", ..." if len(left_out) > 5 else "")
        warnings.warn(f"{len(left_out)} files are not pictures in class folders and were left out: {shown}", stacklevel=5)
    return Rows(tuple(names), np.array(labels, np.int64), [(str(path), path) for path in files])


def _check_classes(root, files):
    if _sub_folders(root):
        return
    if any(path.suffix.lower() in SUFFIXES for path in files):
        raise ValueError(f"{root}: its pictures lie side by side: put them into one sub-folder per class")
    raise ValueError(f"{root}: empty: sub-folders with pictures, one per class, or Parquet files are expected")


def _pictures(folder, around, left_out):
    """Files below a folder that end like pictures; `around`: the real paths of the folders it lies in."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            real = entry.resolve()
            if real in around:
                raise ValueError(f"{entry}: a link back to {real}, which contains it: remove the link")
            yield from _pictures(entry, (*around, real), left_out)
        elif entry.suffix.lower() in SUFFIXES:
            yield entry
        else:
            left_out.append(entry)


def _sub_folders(folder):
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _name(folder):
    """A class's name as text: composed accents, whichever way the file system writes them."""
    return unicodedata.normalize("NFC", os.fsencode(folder.name).decode("utf-8", "replace"))
