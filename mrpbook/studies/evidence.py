"""One classifier of pictures: what it needs to see."""
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from ..images import evidence, probes
from ..images.batches import Batches
from ..images.patches import from_patches, to_patches
from ..images.training import Plan, train
from ..rng import generator
from ..validation import check_choice
from . import pictures

FILLS = ("dropped", "mean", "scraps")
KEPT = np.array([(number + 1).bit_count() for number in range(15)])  # quarters in each set
MAPS = ("occlusion", "Grad-CAM", "Eigen-CAM", "ink", "shuffled")


class Occluded(nn.Module):
    """Cross-entropy; half of a batch is whole, a quarter has patches dropped, a quarter has them painted with `mean`."""

    def __init__(self, net: probes.Classifier, mean: Tensor):
        super().__init__()
        self.net = net
        self.register_buffer("mean", mean)

    def forward(self, x: Tensor, labels: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        half, rest = len(x) // 2, 3 * len(x) // 4
        some = x[rest:]
        keep = torch.ones(len(some), self.net.encoder.cells, dtype=torch.bool, device=x.device).scatter(1, hidden[rest:], False)
        shown = evidence.painted(some, keep, self.mean.expand_as(some), self.net.encoder.patch)
        seen = self.net.logits(torch.cat([x[:half], shown]))
        dropped = self.net.head(self.net.encoder(x[half:rest], visible[half:rest]).mean(1))
        return functional.cross_entropy(torch.cat([seen[:half], dropped, seen[half:]]).float(), labels)


def occluded(seed: int, per_class: int, weights: np.ndarray | None = None, source: str = "digits", ratio: float = 0.75,
             steps: int | None = None) -> dict:
    """As `pictures.learn`, with the same labels and steps, but batches twice as large: as many whole pictures and as many again
    with a share `ratio` of their patches hidden. The confounder, that masked pretraining has seen hidden patches, given to the
    other side (and to both)."""
    r, x, y, test, truth = pictures.labelled(seed, per_class, source)
    start = pictures.encoder(seed, source)
    net = probes.Classifier(start if weights is None else pictures.loaded(start, weights), int(truth.max()) + 1)
    batches = Batches(x, min(2 * r.tuning_size, len(x)), seed, y, (start.cells, ratio), r.crop, r.flip)
    train(Occluded(net, pictures.tensors(source)[0].mean(0, keepdim=True)), batches, Plan(steps or r.tuning, r.tuning_lr))
    return pictures.answers(net.predict(test), truth) | {"weights": pictures.flat(net)}


def untrained(seed: int, per_class: int, source: str = "digits") -> dict:
    """The control without learned features: logistic regression (C = 1) on the untrained encoder, as a classifier's head."""
    _, x, y, test, truth = pictures.labelled(seed, per_class, source)
    net = probes.Classifier(pictures.encoder(seed, source), int(truth.max()) + 1)
    found = probes.features(net.encoder, x).double().numpy()
    scale = StandardScaler().fit(found)
    fit = LogisticRegression(max_iter=1000).fit(scale.transform(found), y.numpy())
    weight = fit.coef_ / scale.scale_
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy(weight))
        net.head.bias.copy_(torch.from_numpy(fit.intercept_ - weight @ scale.mean_))
    return pictures.answers(net.predict(test), truth) | {"weights": pictures.flat(net)}


def parts(seed: int, weights: np.ndarray, fill: str, source: str = "digits", most: int = 1000) -> dict:
    """Every set of quarters of test pictures, at most `most` of them, chosen by `seed`, answered by a classifier.

    fill: what hidden quarters show: nothing ("dropped"), the "mean" training picture, or "scraps": each patch from another
    training picture, so that no other digit is shown. Returns `index` of the pictures; `right` [n, 15], answers by set (the
    set s of quarters in column s - 1); `removed` [n, 4], right with 0 to 3 quarters removed, the most important one first;
    `shuffled` [n, 4], the same with the quarters that are important in another picture; `views` [n], how many disjoint parts,
    none the whole, are right alone; `default` [n, k - 1], how many are taken for each other class.
    """
    check_choice("fill", fill, FILLS)
    net, (_, test) = pictures.classifier(weights, source), pictures.data(source)
    index, x, shown = tested(seed, fill, source, most)
    labels = test.labels[index]
    keep = evidence.kept(evidence.quarters(net.encoder.rows, net.encoder.columns))
    logits = evidence.answers(net, x, keep, shown)
    said = logits.argmax(2)
    right = said == labels[:, None]
    left = evidence.removal(evidence.margin(logits, labels[:, None].expand_as(said)))
    alone = [_views(said == (labels[:, None] + j) % logits.shape[2]) for j in range(logits.shape[2])]
    shuffled = left[torch.from_numpy(generator(seed, "another picture").permutation(len(left)))]
    found = {"right": right, "removed": right.gather(1, left - 1), "shuffled": right.gather(1, shuffled - 1),
             "views": alone[0], "default": torch.stack(alone[1:], 1)}
    return {name: value.numpy() for name, value in found.items()} | {"index": index.numpy()}


def accuracy(right: np.ndarray) -> np.ndarray:
    """Share of right answers with 4, 3, 2 and 1 quarters kept, over all ways to keep them, [4]; right: [n, 15], of `parts`."""
    return np.array([right[:, KEPT == kept].mean() for kept in (4, 3, 2, 1)])


def odds(share: np.ndarray, classes: int) -> np.ndarray:
    """Log-odds of an accuracy corrected for guessing (ours): log((p - 1/k) / (1 - p)), that of q = (p - 1/k) / (1 - 1/k).

    Accuracies near 1 leave no room for a gap, nor do those near chance; on this scale both ends are infinitely far away.
    Shares are kept 0.002 from both ends.
    """
    share = np.clip(share, 1 / classes + 0.002, 1 - 0.002)
    return np.log((share - 1 / classes) / (1 - share))


def spread(maps: np.ndarray) -> np.ndarray:
    """Effective number of patches of a map [..., P], (sum)^2 / (sum of squares) of its positive part: 1 to P, or 0."""
    positive = np.maximum(maps, 0)
    squares = (positive**2).sum(-1)
    return positive.sum(-1) ** 2 / np.where(squares > 0, squares, 1)


def _views(sufficient: Tensor) -> Tensor:
    proper = sufficient.clone()
    proper[:, -1] = False
    return evidence.disjoint(proper).to(torch.uint8)


def tested(seed: int, fill: str, source: str, most: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Numbers of the test pictures, these pictures, and what is painted over them (None: nothing, patches are dropped)."""
    (some, x), patch = pictures.tensors(source), pictures.recipe(source).patch
    index = torch.from_numpy(np.sort(generator(seed, "tested pictures").permutation(len(x))[:most]))
    cut = to_patches(some, patch)
    donors = torch.from_numpy(generator(seed, "donors").integers(len(some), size=(len(index), cut.shape[1])))
    scraps = from_patches(cut[donors, torch.arange(cut.shape[1])], tuple(some.shape[1:]), patch)
    fills = {"dropped": None, "mean": some.mean(0, keepdim=True).expand(len(index), -1, -1, -1), "scraps": scraps}
    return index, x[index], fills[fill]


def maps(seed: int, weights: np.ndarray, source: str = "digits", most: int = 1000, removed: int = 4) -> dict:
    """Maps of a classifier, and what it says when the patches that they name are dropped.

    Returns `index`; `maps` [3, n, P]: occlusion (by dropping), Grad-CAM, Eigen-CAM; `right` [n]; `removed` [5, n], right
    without the `removed` top patches of each of MAPS (ink: squared distance from the mean picture; shuffled: the occlusion
    map of another picture).
    """
    net, (_, test) = pictures.classifier(weights, source).eval(), pictures.data(source)
    index, x, _ = tested(seed, "dropped", source, most)
    labels = test.labels[index]
    shown = [evidence.occlusion(net, x, labels), evidence.grad_cam(net, x, labels), evidence.eigen_cam(net.encoder, x)]
    ink = to_patches((x - pictures.tensors(source)[0].mean(0)).square(), net.encoder.patch).mean(2)
    another = shown[0][torch.from_numpy(generator(seed, "another picture").permutation(len(x)))]
    after = [evidence.answer(net, x, ~evidence.top(one, removed)).argmax(1) == labels for one in (*shown, ink, another)]
    return {"index": index.numpy(), "maps": torch.stack(shown).numpy(), "removed": torch.stack(after).numpy(),
            "right": (net.predict(x) == labels).numpy()}
