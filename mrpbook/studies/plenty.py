"""Learning from every label there is."""
import numpy as np
import torch

from ..images import probes, sources
from ..images.batches import Batches
from ..images.training import Plan
from . import agreement, pictures


def head_first(seed: int, per_class: int, source: str, steps: int, weights: np.ndarray | None = None) -> dict:
    """`pictures.learn` with the head first, and `pictures.frozen`, for so many labels that no penalty has to be searched for.

    The head is `agreement.head`, with one penalty: tens of thousands of labels determine a hundred numbers per class without
    it. weights: of the encoder, None: untrained. Returns whether the test pictures are `correct`, and whether they were while
    the encoder was `frozen`.
    """
    r, tests, truth = pictures.recipe(source), pictures.tensors(source)[1], pictures.data(source)[1].labels
    some = sources.labelled(pictures.data(source)[0], per_class, seed)
    start = pictures.encoder(seed, source)
    if weights is not None:
        start = pictures.loaded(start, weights)
    head = agreement.head(start, some)
    logits = probes.features(start, tests).double() @ head.matrix.T + head.bias
    batches = Batches(some.tensor(), min(r.tuning_size, len(some)), seed, labels=some.labels, crop=r.crop, flip=r.flip)
    net, _ = probes.finetune(start, batches, len(some.names), Plan(steps, r.gentle_lr), head)
    return {"correct": (net.predict(tests) == truth).numpy(), "frozen": torch.eq(logits.argmax(1), truth).numpy()}
