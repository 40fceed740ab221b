"""Pictures and labels, from wherever they lie."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from PIL import Image
from torch import Tensor

from ..memory import check_fits
from ..rng import generator
from ..validation import check_choice, check_integer
from . import folders, hub, tables
from .decoding import stack

DIGITS_TEST = 597  # of 1797: one third
DIGITS_SOURCE = ("Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak, 1998; UCI), of which scikit-learn ships "
                 "the test set: 1797 pictures of 8 x 8 pixels with 17 levels of grey, by 13 writers")
DIGITS_SPLIT = ("a split made here into 1200 and 597, stratified by class (scikit-learn's copy has none, and does not tell "
                "writers apart)")
DIGITS_LICENCE = ("scikit-learn's description of the data names no licence; UCI's page is recalled (not checked) to name "
                  "CC BY 4.0")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_SOURCE = ("taken for CIFAR-10 (A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009), whose "
                  "class names and number of pictures these are")
CIFAR10_LICENCE = ("none known: CIFAR-10's page names no licence and asks for a citation of the report; the pictures were "
                   "gathered by web search, in 80 Million Tiny Images, which its makers withdrew in 2020")
UNKNOWN = "unknown: none was given with these pictures"


@dataclass(frozen=True)
class Images:
    """N labelled pictures of H x W pixels, grey (C = 1) or red, green, blue (C = 3).

    pictures: 0 (black) to 255 [N, H, W, C]; labels: in [0, len(names)) [N]; names: class names, by label; source and
    licence: sentences to print beside pictures that are shown.

    Raises ValueError for other shapes or types and for labels without a name.
    """

    pictures: UInt8[Tensor, "N H W C"]
    labels: Int64[Tensor, "N"]
    names: tuple[str, ...]
    source: str
    licence: str

    def __post_init__(self):
        shape = tuple(self.pictures.shape)
        if self.pictures.dtype != torch.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
            raise ValueError(f"pictures: {self.pictures.dtype} {shape}: expected torch.uint8 [N, H, W, 1 or 3]")
        if self.labels.dtype != torch.int64 or self.labels.shape != shape[:1]:
            raise ValueError(f"labels: {self.labels.dtype} {tuple(self.labels.shape)}: expected torch.int64 [{shape[0]}]")
        if len(self.labels) and not (0 <= int(self.labels.min()) and int(self.labels.max()) < len(self.names)):
            raise ValueError(f"labels lie in [{int(self.labels.min())}, {int(self.labels.max())}]: expected 0 to "
                             f"{len(self.names) - 1}, one for each of the names")

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index) -> "Images":
        """The pictures at `index` (a slice, a mask or a list of positions); class names stay as they are."""
        return Images(self.pictures[index], self.labels[index], self.names, self.source, self.licence)

    def tensor(self) -> Float32[Tensor, "N C H W"]:
        """The pictures in [0, 1], channels first. MemoryError if they don't fit."""
        check_fits(f"{len(self):,} pictures as 32-bit numbers", 4 * self.pictures.numel(), "the number of pictures (select)")
        first = self.pictures.permute(0, 3, 1, 2)
        return first.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def load(source: str | Path = "digits", split: str | None = None, *, size: int | None = None, channels: int | None = None,
         image: str | None = None, label: str | None = None, licence: str | None = None) -> Images:
    """Labelled pictures of at least two classes.

    source: "digits" (ships with scikit-learn; a folder of that name is "./digits"); a folder with one sub-folder per class,
    or such folders for every split; a Parquet file, a folder of them or a saved data set, in Hugging Face's image layout;
    "hub:owner/name[@revision]", the only source that may use the network. split: "train", "validation", "test", or None
    where there is only one (for digits: all pictures). size: cut every picture to its middle square and resample it to
    size x size; without it all pictures must have one size. channels: 1 or 3 to make all of them grey or coloured.
    image, label: column names, where a table leaves a choice. licence: what you know about it.

    Raises ValueError naming file and row for what can't be used, FileNotFoundError, ImportError for a missing optional
    package, ConnectionError, MemoryError.
    """
    if size is not None:
        check_integer("size", size, 1)
    check_choice("channels", channels, (None, 1, 3))
    split = folders.SPLIT_OF.get(split, split)
    rows, origin, stated = _rows(source, split, image, label)
    kinds = np.unique(rows.labels)
    if len(kinds) < 2:
        what = f"only the class {rows.names[kinds[0]]!r}" if len(kinds) else "no pictures"
        raise ValueError(f"source = {str(source)!r}: {what}: expected pictures of at least two classes")
    pictures, formats = stack(rows.contents, len(rows.labels), size, channels)
    if source != "digits":
        origin += f", stored as {', '.join(sorted(formats))}"
    if rows.names == CIFAR10 and len(pictures) in (10_000, 50_000, 60_000):  # other data sets share the names, not the number
        origin, stated = f"{origin}: {CIFAR10_SOURCE}", CIFAR10_LICENCE
    images = Images(pictures, torch.from_numpy(rows.labels), rows.names, origin, licence or stated or UNKNOWN)
    if source == "digits" and split is not None:
        return splits(images, None, DIGITS_TEST)[split == "test"]
    return images


def splits(images: Images, train: int | None, test: int, seed: int = 0) -> tuple[Images, Images]:
    """`train` and `test` pictures (train = None: all that are left), both with the classes' shares, in their old order.

    Drawn by (seed, class), so the test pictures don't depend on `train`. Every class that has pictures keeps at least one in
    both parts, and its number is within 1 of its exact share. Raises ValueError if that can't be.
    """
    check_integer("test", test, 1)
    train = len(images) - test if train is None else check_integer("train", train, 1)
    if train + test > len(images) or train < 1:
        raise ValueError(f"train = {train}, test = {test}: there are {len(images)} pictures")
    labels, sizes, rank = _ranks(images, seed, "split")
    tested = _shares(test, sizes)
    trained = _shares(train, sizes - tested)
    if (np.minimum(tested, trained) < 1)[sizes > 0].any():
        raise ValueError(f"train = {train}, test = {test}: too few for a picture of each of {np.sum(sizes > 0)} classes in "
                         f"both; the smallest class has {sizes[sizes > 0].min()} of {len(images)}")
    in_test = rank < tested[labels]
    in_train = ~in_test & (rank < (tested + trained)[labels])
    return images.select(torch.from_numpy(in_train)), images.select(torch.from_numpy(in_test))


def labelled(images: Images, per_class: int, seed: int = 0) -> Images:
    """`per_class` pictures of each class that has any, in their old order: the ones whose labels a learner is given.

    Drawn by (seed, class) and nested: the first 10 per class are among the first 20. Raises ValueError if a class has fewer.
    """
    check_integer("per_class", per_class, 1)
    labels, sizes, rank = _ranks(images, seed, "labels")
    few = np.flatnonzero((sizes > 0) & (sizes < per_class))
    if len(few):
        raise ValueError(f"per_class = {per_class}: class {images.names[few[0]]!r} has {sizes[few[0]]} pictures")
    return images.select(torch.from_numpy(rank < per_class))


def _ranks(images, seed, purpose):
    """Labels [N], pictures per class [k], and each picture's place in a random order of its class [N]."""
    labels = images.labels.cpu().numpy()
    rank = np.empty(len(labels), np.int64)
    for kind in np.unique(labels):
        rank[labels == kind] = generator(seed, f"images:{purpose}", int(kind)).permutation(np.sum(labels == kind))
    return labels, np.bincount(labels, minlength=len(images.names)), rank


def _shares(count, sizes):
    """`count` divided in proportion to `sizes`, largest remainders rounded up."""
    whole, rest = np.divmod(count * sizes, max(sizes.sum(), 1))
    whole[np.argsort(-rest, kind="stable")[:count - whole.sum()]] += 1
    return whole


def _rows(source, split, image, label):
    """What the source holds, where that is from, and the licence it states or None."""
    name = str(source)
    if source == "digits":
        check_choice("split", split, (None, "train", "test"))
        return _digits(), DIGITS_SOURCE + ("" if split is None else f"; the {split} part of {DIGITS_SPLIT}"), DIGITS_LICENCE
    if name.startswith("hub:"):
        folder = hub.fetched(name[4:], split)
        origin = f"{name[4:]} on the Hugging Face Hub, commit {folder.name[:12]}"
        return _local(folder, split, image, label), origin, hub.stated_licence(folder)
    path = Path(name).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"source = {name!r}: no such file or folder; expected 'digits', a folder of class sub-folders, "
                                "a Parquet file or a folder of them, or 'hub:owner/name'")
    origin = path.resolve().name + ("" if split is None else f", {split} part")
    return _local(path, split, image, label), origin, hub.stated_licence(path)


def _digits():
    from sklearn.datasets import load_digits
    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    contents = [(f"digits, row {n}", Image.fromarray(pixels)) for n, pixels in enumerate(grey)]
    return folders.Rows(tuple(map(str, digits.target_names)), digits.target.astype(np.int64), contents)


def _local(path, split, image, label):
    if path.is_file():
        if split not in (None, folders.split_of(Path(path.name))):
            raise ValueError(f"split = {split!r}: {path} is one file whose name doesn't say so: leave split out")
        return tables.rows([path], image, label, [])
    if every := tables.files(path):
        chosen = tables.of_split([file.relative_to(path) for file in every], split, str(path))
        return tables.rows([path / file for file in chosen], image, label, every)
    return folders.rows(path, split)
