"""One draw of the test bench: any objective, plain descent, one clock for all kernels."""
import torch

from ..data import MultiView
from ..finetune import fit_head
from ..network import initial_kernels, responses
from ..pretrain import Diverged, pretrain
from ..protocols import QuickReLU, fresh
from ..semantics import fusion_time, holding

TESTS = 1000  # multi-view and single-view test samples each
MU = 0.1  # share of single-view samples in pretraining, as in the chapters
POINTS = 50  # states that are looked at along a run
AIM, ACCEPT = 0.4, (0.25, 0.6)  # where in the run nine tenths of the semantics should be held
STRIDE, TRIALS = 8.0, 9
NOTHING, MANY = 1e-6, 0.1  # a kernel is silent if it answers no sample more; too large a step overshoots, and leaves many so


def descend(seed, objective, model, rate, steps, K, N):
    """Times in steps [T], kernels [T, K, d], what they hold, and the share that fell silent, of one run by plain descent."""
    act = QuickReLU()
    S, w0 = model.sample(N, seed, "pretrain", mu=MU), initial_kernels(K, model.d, seed)
    path = pretrain(fresh(objective, seed), S.X, w0, act, lr=rate, steps=steps, snapshots=max(1, steps // POINTS))
    before, after = (responses(w, S.X, act).amax(0) > NOTHING for w in (w0, path.last))
    held = holding(path.kernels, model.semantics(seed), model, act)
    return (path.times / rate).round(), path.kernels, held, float((before & ~after).float().mean())


def counts(times, held) -> dict:
    """T, the step at which the number of semantics held first reaches its largest value (nan: none is), `fusion`, the first at
    which 5 % of the captured kernels are not single (inf: never), and pairs (how many, of how many): `semantics` held at the
    end, captured kernels `single` at T, captured kernels `one_class` at the end.
    """
    number, captured = held.semantics.sum(-1), held.captured.sum(-1)
    row = int(number.argmax())
    return {"T": float(times[row]) if number.any() else torch.nan, "fusion": fusion_time(held, times),
            "semantics": torch.tensor([number[-1], held.semantics.shape[-1]]),
            "single": torch.stack([held.single[row].sum(), captured[row]]),
            "one_class": torch.stack([held.one_class[-1].sum(), captured[-1]])}


def search(objective, model=None, rate: float | None = None, steps: int = 150, K: int = 100, N: int = 300,
           seed: int = 0) -> dict:
    """A learning rate at which a run of `steps` steps is about twice as long as capture takes, on one pilot draw.

    Every objective has a scale of its own, so that equal rates mean nothing. The rate is moved until nine tenths of the
    largest number of semantics held along the run are first held at 0.25 to 0.6 of it: up by 8 where nothing is captured, down
    by 8 where kernels diverge, by 2 where more than a tenth fell silent, else by the ratio of times, between what
    was too slow and too fast (ours). If 9 trials do not get there, the one that holds most at its end is taken, of equals one
    that was not too fast. A rate that is given is kept.

    Returns `outcome` ('ran', 'diverged' - at every rate -, or what was raised), `rate`, whether it `settled`, per trial
    `tried`, `most` (share of semantics held at most; nan: diverged) and `at`, and `coarse`: the largest change of a share in
    `counts` if the run is repeated with twice the rate and half the steps (inf: it diverges; nan: one captures nothing).
    """
    run = dict(seed=seed, objective=objective, model=model or MultiView(noise=0.3), K=K, N=N)
    low, high, tried = 0.0, torch.inf, []  # rates known to be too slow and too fast
    try:
        now = rate or _first_rate(**run)
        while len(tried) < (1 if rate else TRIALS) and high > 1.5 * low:
            most, at, shares, silent = _probe(now, steps, **run)
            hit = silent > MANY  # some kernels were overshot
            slow, fine = not hit and (most == 0 or at > ACCEPT[1]), not hit and most > 0 and ACCEPT[0] <= at <= ACCEPT[1]
            rank = (fine, float(shares[0].nan_to_num(-1)), slow, now if slow else -now)
            tried.append((now, most, at, shares, rank))
            if fine:
                break
            low, high = (max(low, now), high) if slow else (low, min(high, now))
            by_time = min(max(at / AIM, 1 / STRIDE), STRIDE) if most > 0 else STRIDE if slow else 1 / STRIDE
            now *= 0.5 if hit else by_time
            now = now if low < now < high else (low * high) ** 0.5
        best, most, _, shares, rank = max(tried, key=lambda one: one[-1])
        twice, _, changed, _ = _probe(2 * best, max(1, steps // 2), **run) if most >= 0 else (torch.nan, 0, shares, 0)
        coarse = (changed - shares).abs().max() if twice >= 0 else torch.inf
    except Exception as error:  # a reader's code: the other objectives go on
        return {"outcome": f"{type(error).__name__}: {error}"}
    columns = dict(zip(("tried", "most", "at"), torch.tensor([t[:3] for t in tried], dtype=torch.float64).T, strict=True))
    return {"outcome": "ran" if most >= 0 else "diverged", "rate": best, "settled": rank[0], "coarse": coarse} | columns


def _first_rate(seed, objective, model, K, N):
    """A hundredth of the rate at which one step moves the median kernel by its own length."""
    w0 = initial_kernels(K, model.d, seed)
    g = fresh(objective, seed).descent(w0, model.sample(N, seed, "pretrain", mu=MU).X, QuickReLU())
    return float((w0.norm(dim=1) / g.norm(dim=1).clamp_min(1e-30)).median()) / 100


def _probe(rate, steps, seed, objective, model, K, N):
    """Of a run: largest share of semantics held, where nine tenths of it are first held, shares in `counts`, silent; or nan."""
    try:
        times, _, held, silent = descend(seed, objective, model, rate, steps, K, N)
    except Diverged:
        return torch.nan, torch.nan, torch.full((3,), torch.nan), 0.0
    share, found = held.semantics.float().mean(-1), counts(times, held)
    shares = torch.stack([found[name][0] / found[name][1] for name in ("semantics", "single", "one_class")])
    return float(share.max()), float(times[int((share >= 0.9 * share.max()).int().argmax())]) / steps, shares, silent


def trial(seed: int, objective=None, rate: float = 1.0, model=None, steps: int = 150, K: int = 100, N: int = 300,
          labels: int = 300) -> dict:
    """One draw of pretraining by `objective`, and a head on its kernels at the end; objective = None: the untrained kernels.

    `outcome`: 'ran', 'diverged' or what was raised; the rest is there where it ran: `counts`; `multi_view` and `single_view`,
    pairs (wrong answers, `TESTS`) of the head; `cosine`, the largest cosine of a kernel with a semantic at the end, mean over
    kernels; `silent`, the share of kernels that answered at the start and not in the end; along the run `steps` and shares
    `held`, `captured_single`, `captured_one_class` [T].
    """
    model = model or MultiView(noise=0.3)
    act = QuickReLU()
    try:
        if objective is None:
            kernels = initial_kernels(K, model.d, seed)[None]
            times, held, silent = torch.zeros(1), holding(kernels, model.semantics(seed), model, act), 0.0
        else:
            times, kernels, held, silent = descend(seed, objective, model, rate, steps, K, N)
        L = model.sample(labels, seed, "labels", mu=0.0)
        head = fit_head(kernels[-1], L.X, L.y, model.k, act)
        tests = (model.sample(TESTS, seed, f"test {kind}", mu=mu) for kind, mu in (("multi", 0.0), ("single", 1.0)))
        multi, single = (torch.tensor([TESTS - int(head.correct(t.X, t.y).sum()), TESTS]) for t in tests)
    except Diverged:
        return {"outcome": "diverged"}
    except Exception as error:  # a reader's code: the other draws and objectives go on
        return {"outcome": f"{type(error).__name__}: {error}"}
    safe = held.captured.sum(-1).clamp_min(1)
    return counts(times, held) | {
        "outcome": "ran", "multi_view": multi, "single_view": single, "silent": silent,
        "steps": times, "held": held.semantics.float().mean(-1),
        "captured_single": held.single.sum(-1) / safe, "captured_one_class": held.one_class.sum(-1) / safe,
        "cosine": (held.overlaps[-1].amax(-1) / kernels[-1].norm(dim=1).clamp_min(1e-30)).mean()}
