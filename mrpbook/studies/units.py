"""Ratio and unit of masks on pictures: what encoders know, what is reconstructed."""
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..images.mae import MAE
from ..images.patches import random_masks
from ..images.training import Plan, train
from ..images.units import UnitBatches, squares
from ..validation import check_choice
from . import pictures

AFTER = 10**6  # a step that no run reaches: its masks are new
HIDDEN = 0.75  # share hidden, of single patches, where all are compared on the same masks
VIEWS = ("whole", "hidden")


def pretrain(seed: int, ratio: float, side: int, source: str = "digits", steps: int | None = None) -> dict:
    """`pictures.pretrain` with pixels as targets, where squares of side x side patches are hidden; side 1: the same bits."""
    r, model = pictures.recipe(source), pictures.objective(seed, source)
    units = len(squares(model.encoder.rows, model.encoder.columns, side))
    given = UnitBatches(pictures.tensors(source)[0], r.size, seed, masks=(units, ratio), crop=r.crop, flip=r.flip,
                        patch=r.patch, side=side)
    losses = train(model, given, Plan(steps or r.steps, r.lr))
    return {"weights": pictures.flat(model.encoder), "decoder": pictures.flat(model.decoder),
            "loss": [float(part.mean()) for part in losses.tensor_split(50)]}


def likeness(shown: Tensor, truth: Tensor) -> tuple[float, float]:
    """Peak signal-to-noise ratio in decibels and structural similarity (Wang et al. 2004, windows of 7 x 7 pixels, as
    scikit-image computes it), means over pictures [N, C, H, W] in [0, 1] of at least 7 x 7 pixels; `shown` is cut to [0, 1].
    Raises ImportError without scikit-image."""
    try:
        from skimage.metrics import peak_signal_noise_ratio, structural_similarity
    except ImportError as error:
        raise ImportError("structural similarity needs scikit-image: pip install 'mrpbook[images]'") from error
    pairs = list(zip(truth.numpy(), shown.clamp(0, 1).numpy(), strict=True))
    noise = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs]
    alike = [structural_similarity(a, b, data_range=1, channel_axis=0) for a, b in pairs]
    return float(np.mean(noise)), float(np.mean(alike))


@torch.no_grad()
def reconstructed(model: MAE, x: Tensor, view: str) -> Tensor:
    """The pictures [N, C, H, W] as the model shows them: predictions are multiplied by the true deviation of their patch and
    added to its true mean (see `MAE.reconstruct`); patches that are not predicted are those of the picture.

    view: "whole": nothing is hidden, every patch is predicted; "hidden": HIDDEN of the single patches are, the same for every
    model. Raises ValueError for another view.
    """
    check_choice("view", view, VIEWS)
    P = model.encoder.cells
    everything = torch.arange(P).expand(len(x), P)
    seen, asked = (everything, everything) if view == "whole" else random_masks(len(x), P, HIDDEN, 0, AFTER)
    return model.eval().reconstruct(x, seen, asked)


class Means(MAE):
    """Predicts nothing but the mean of each patch: what reconstructions are to beat."""

    def predict(self, pictures, visible, hidden):
        return torch.zeros(*hidden.shape, self.encoder.shape[0] * self.encoder.patch**2)


def judged(seed: int, per_class: int, weights: np.ndarray | None = None, decoder: np.ndarray | None = None,
           source: str = "digits", most: int = 500) -> dict:
    """`accuracy` on all test pictures of a logistic regression on the frozen encoder (see `pictures.frozen`), and on the
    first `most` test pictures "<view> psnr" and "<view> ssim" of reconstructions, for VIEWS. Without weights: the untrained
    encoder, and reconstructions by each patch's mean."""
    model = pictures.objective(seed, source)
    if weights is None:
        model = Means(model.encoder)
    else:
        pictures.loaded(model.encoder, weights)
        pictures.loaded(model.decoder, decoder)
    x, found = pictures.tensors(source)[1][:most], {}
    for view in VIEWS:
        found[f"{view} psnr"], found[f"{view} ssim"] = likeness(reconstructed(model, x, view), x)
    return found | {"accuracy": pictures.frozen(seed, per_class, weights, source)["correct"].mean()}


def sweep(run: Callable, seeds: Sequence[int], ratios: Mapping[int, Sequence[float]], per_class: int, source: str = "digits",
          steps: int | None = None, most: int = 500) -> dict:
    """For each side of a unit and what `judged` returns, "<side> <what>" [draws, ratios]; "0 <what>" [draws, 1]: untrained,
    by means. run: study, cells -> results. steps: of pretraining, by default those of the recipe."""
    found = {0: run(judged, [dict(seed=s, per_class=per_class, source=source, most=most) for s in seeds])}
    for side, shares in ratios.items():
        asked = [dict(seed=s, ratio=r, side=side, source=source, steps=steps) for s in seeds for r in shares]
        nets = run(pretrain, asked)
        found[side] = run(judged, [dict(seed=c["seed"], per_class=per_class, source=source, most=most, weights=net["weights"],
                                        decoder=net["decoder"]) for c, net in zip(asked, nets, strict=True)])
    return {f"{side} {what}": np.array([c[what] for c in cells]).reshape(len(seeds), -1)
            for side, cells in found.items() for what in cells[0] if what != "seconds"}
