"""Frozen encoders, on classes seen and unseen."""
from ..images import probes, sources
from ..images.batches import Batches
from ..images.training import Plan, train
from . import pictures, transfer


def halves(seed: int, what: str, per_class: int, source: str, steps: int) -> dict:
    """Masked pretraining of the transformer on `what` (see `transfer.shown`; "nothing": none) by the recipe of this source; the
    encoder is then frozen, and a logistic regression on its features learns each half of the classes from `per_class` labels.

    For every `what` of a seed the same classes, labels and initial weights. Returns for both halves the test `accuracy` [2].
    """
    parts, model, r = transfer.tasks(seed, source), pictures.objective(seed, source), pictures.recipe(source)
    if what != "nothing":
        x = transfer.shown(what, seed, parts[0][0], parts[1][0])
        train(model, Batches(x, r.size, seed, masks=(model.encoder.cells, 0.75), crop=r.crop, flip=r.flip), Plan(steps, r.lr))
    found = []
    for known, test in parts:
        some = sources.labelled(known, per_class, seed)
        found.append(probes.probe(model.encoder, some.tensor(), some.labels, test.tensor(), test.labels, seed).accuracy)
    return {"accuracy": found}
