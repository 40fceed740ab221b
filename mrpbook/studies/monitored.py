"""One draw under watch: slack of the argument's inequalities."""
from dataclasses import replace

import torch

from ..monitors import (
    Slack,
    bracket_positive,
    classes_stay_apart,
    labels_saturate,
    losers_stay,
    loss_falls,
    noise_stays_small,
    nothing_memorised,
    outsiders_stay,
    report,
    winner_sets,
    winners_grow,
    winners_were_ahead,
)
from ..network import initial_kernels, responses
from ..pretrain import Trajectory, pretrain
from ..semantics import first_time, fusion_time, holding
from ..supervised import fixed_head, train
from .capture import OBJECTIVES, setting

EVERY = 10  # common time between the states that are looked at


def summary(slack: Slack) -> dict:
    """`<name>_` with holds, median, low (5 % quantile), each [T], and share, speaks, first, left, tightest as in `report`."""
    row = report([slack]).iloc[0]
    values = slack.values.reshape(len(slack.times), -1).double()
    parts = {"holds": slack.holds, "median": values.nanquantile(0.5, 1), "low": values.nanquantile(0.05, 1),
             "share": row["holds"]}
    parts |= {name: row[name] for name in ("speaks", "first", "left", "tightest")}
    return {f"{slack.name.replace(' ', '_')}_{part}": value for part, value in parts.items()}


def descend(seed: int, noise: float, theta: float, K: int, time: int, lr: float, objective: str, sigma_0: float, **parameters):
    """(path, model, act, V, samples, objective) of one draw in common time, a state every 10."""
    m, act, V, S, _ = setting(seed, noise, 1)
    loss = OBJECTIVES[objective](theta, **parameters)
    w0 = initial_kernels(K, m.d, seed, sigma_0)
    path = pretrain(loss, S.X, w0, act, lr=lr, steps=int(time / lr), snapshots=int(EVERY / lr))
    return path, m, act, V, S, loss


def kernels(seed: int, noise: float = 0.3, theta: float = 0.9, K: int = 100, time: int = 300, lr: float = 2.0,
            objective: str = "normalised", sigma_0: float = 0.05, **parameters) -> dict:
    """`summary` of every inequality on kernels but the loss (see `loss`), along one draw of pretraining, in common time.

    Also `times` [T] (summaries of growth have T - 1, without the start), T (first time at which all semantics are captured) and
    `fusion` (5 % of the captured kernels not single), both inf if never; `semantics` [T], share captured; `sets` [K], how many
    winner sets each kernel is in.
    """
    path, m, act, V, S, loss = descend(seed, noise, theta, K, time, lr, objective, sigma_0, **parameters)
    held = holding(path.kernels, V, m, act)
    # each kernel's winner at the start of another kernel: what chance alone would give
    strangers = Trajectory(path.times, torch.cat([path.kernels[:1].roll(1, 1), path.kernels[1:]]))
    slacks = [winners_grow(path, m, V, act), bracket_positive(path, m, V, S, act, loss), losers_stay(path, V, sigma_0),
              outsiders_stay(path, m, V, sigma_0), noise_stays_small(path, V, S, act), nothing_memorised(path, V, sigma_0),
              winners_were_ahead(path, m, V, act), classes_stay_apart(path, m, V, act),
              replace(winners_were_ahead(strangers, m, V, act), name="strangers were ahead")]
    out = {"times": path.times, "T": first_time(held.semantics.all(-1), path.times), "fusion": fusion_time(held, path.times),
           "sets": winner_sets(path.kernels[0], m, V).sum(-1), "semantics": held.semantics.float().mean(-1)}
    for slack in slacks:
        out |= summary(slack)
    return out


def loss(seed: int, objective: str = "normalised", noise: float = 0.3, theta: float = 0.9, K: int = 20, time: int = 300,
         lr: float = 2.0, sigma_0: float = 0.3, **parameters) -> dict:
    """`summary` of 'the loss falls' and `times` [T - 1]. From a larger start than `kernels`: from sigma_0 = 0.05 the kernels of
    the plain decoder do not move by as much as float32 resolves.
    """
    path, _, act, _, S, objective = descend(seed, noise, theta, K, time, lr, objective, sigma_0, **parameters)
    slack = loss_falls(path, S, act, objective)
    return {"times": slack.times, "change": slack.values} | summary(slack)


def labels(seed: int, noise: float = 0.1, mu_train: float = 0.0, N: int = 300, per_class: int = 6, time: int = 3200,
           lr: float = 16.0, every: int = 80, enough: float = 0.05) -> dict:
    """`gap` and `second` [T, k] of `labels_saturate`, its `summary`, and `times` [T] (learning rate x steps).

    The network with a fixed head on N labelled samples, a share mu_train of them single-view; it does not stop at a loss.
    ValueError if a class has no multi-view sample.
    """
    m, act, V, _, _ = setting(seed, noise, 1)
    S = m.sample(N, seed, "labels", mu=mu_train)
    multi, head = S.select(~S.single), fixed_head(m.k, per_class)
    count = torch.bincount(multi.y, minlength=m.k)
    if not count.all():
        raise ValueError(f"N = {N}, mu_train = {mu_train}: multi-view samples per class {count.tolist()}, expected >= 1")
    w, gap, second = initial_kernels(m.k * per_class, m.d, seed, purpose="supervised 0"), [], []
    for t in range(0, time + 1, every):
        if t:  # plain descent has no past: training in stretches is training
            w = train(S.X, S.y, w, head, act, lr=lr, loss=1e-12, steps=int(every / lr)).w
        wrong = 1 - torch.softmax(responses(w, multi.X, act) @ head.T, 1).gather(1, multi.y[:, None])[:, 0]
        gap.append(torch.zeros(m.k).index_add(0, multi.y, wrong) / count)
        lam = (w @ V.T).view(m.k, per_class, m.k, m.views).amax(1)  # best overlap of each class's kernels, by class and view
        second.append(lam.diagonal().sort(0, descending=True).values[1] * m.patch_strength / act.varrho)
    times, gap, second = torch.arange(0.0, time + 1, every), torch.stack(gap), torch.stack(second)
    return {"times": times, "gap": gap, "second": second} | summary(labels_saturate(times, gap, second, enough))
