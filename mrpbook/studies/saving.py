"""One draw in full and with savings."""
import time

import torch

from ..objectives import NormalisedTeacher
from ..pretrain import pretrain, pretrain_each
from ..semantics import first_time, holding
from . import capture

LR = 2.0  # of all runs here, as in chapter 3
LIMIT, PATIENCE = 400, 600  # common time up to which T is looked for, and for which later kernels are followed
GRID, EVERY = 5, 12  # steps between two looks at the network, and at kernels that run on alone: those of `capture.race`


def compare(seed: int, noise: float = 0.1, K: int = 100, few: int = 40) -> dict:
    """The same draw to its verdicts twice: as `capture.race` runs it to T, and with nothing left out.

    In full: every kernel is followed in common time to the end of the patience, and `few` kernels have a run of their own.
    Saved: the run of the network ends at T, captured kernels leave, and the first `few` of the K kernels serve as the
    smaller network. Returns `T` [2] and `winner` [2, K] (-1: not captured), full first; `alone` [few]: winners of the run of
    their own; `kernel_steps` and `run_seconds` [2].
    """
    began = time.perf_counter()
    saved = capture.race(seed, noise, K=K, lr=LR, to_T=True, limit=LIMIT, patience=PATIENCE)
    between = time.perf_counter()
    last = round(min(float(saved["T"]), LIMIT) / LR)  # step at which the saved run stops looking at the whole network
    looks = [*range(0, last + 1, GRID), *range(last + EVERY, last + round(PATIENCE / LR) + 1, EVERY)]
    T, winner = _in_full(seed, noise, K, looks)
    _, alone = _in_full(seed, noise, few, looks)
    end = time.perf_counter()
    return {"T": torch.tensor([T, float(saved["T"])]), "winner": torch.stack([winner, saved["winner"]]), "alone": alone,
            "run_seconds": torch.tensor([end - between, between - began]),
            "kernel_steps": torch.tensor([(K + few) * round((LIMIT + PATIENCE) / LR), saved["kernel_steps"]])}


def _in_full(seed, noise, K, looks):
    """(T, winner at the first of the looks at which each kernel was captured, -1 where it never was)."""
    m, act, V, S, w0 = capture.setting(seed, noise, K)
    path = pretrain(NormalisedTeacher(), S.X, w0, act, lr=LR, steps=round((LIMIT + PATIENCE) / LR), snapshots=1)
    held = holding(path.kernels, V, m, act)
    network = slice(0, round(LIMIT / LR) + 1, GRID)
    T = float(first_time(held.semantics[network].all(-1), path.times[network]))
    captured = held.captured[looks]
    winner = held.winner[looks].gather(0, captured.int().argmax(0)[None])[0]
    return T, torch.where(captured.any(0), winner, -1)


def too_early(seed: int, noise: float = 0.1, K: int = 100, share: float = 0.1) -> dict:
    """The control: kernels leave once their largest overlap is only `share` of what capture asks.

    At a tenth about a third of the kernels leave before the first step. Returns how many of the `kernels` that
    `capture.race` saw captured have the `same` winner then.
    """
    m, act, V, S, w0 = capture.setting(seed, noise, K)
    enough = share * act.varrho / m.patch_strength
    left, _ = pretrain_each(NormalisedTeacher(), S.X, w0, act, lr=LR, steps=round((LIMIT + PATIENCE) / LR), check_every=EVERY,
                            settled=lambda w: (w @ V.T).amax(1) >= enough)
    winner = capture.race(seed, noise, K=K, lr=LR, to_T=True, limit=LIMIT, patience=PATIENCE)["winner"]
    held = winner >= 0
    return {"same": (held & ((left @ V.T).argmax(1) == winner)).sum(), "kernels": held.sum()}


class Rounded:
    """NormalisedTeacher whose matrix products read numbers of `bits` explicit mantissa bits (10: TF32, 7: bfloat16).

    Exponents keep their range. Products of rounded numbers, added up in float32, as on a GPU's matrix units; ours, emulated.
    """

    independent = True

    def __init__(self, bits: int):
        self.bits, self.objective = bits, NormalisedTeacher()

    def descent(self, w, X, act):
        """The direction of NormalisedTeacher, [K, d], both of its products rounded."""
        rows = round_to(X.reshape(-1, X.shape[2]), self.bits)
        a = (rows @ round_to(w, self.bits).T).view(*X.shape[:2], len(w))
        sigma, (alpha, beta) = act(a), self.objective.weights(X.shape[1])
        bracket = (self.objective.target(a, act) - alpha * sigma.sum(1))[:, None] - beta * sigma
        pulls = round_to((bracket * act.derivative(a)).view(-1, len(w)), self.bits)
        return self.objective.c * self.objective.theta / len(X) * (pulls.T @ rows)


def round_to(x, bits: int):
    """float32 numbers rounded to `bits` explicit mantissa bits, to nearest, ties away from zero."""
    drop = 23 - bits
    return ((x.contiguous().view(torch.int32) + (1 << (drop - 1))) & ~((1 << drop) - 1)).view(torch.float32)


def precisions(seed: int, noise: float = 0.1, K: int = 60, steps: int = 100, bits: tuple = (10, 7, 1)) -> dict:
    """One draw to time 2 x steps in float64, in float32 (the blocks), and with `bits` for the products.

    Returns, for each of these, `T` [2 + len(bits)], `winner` [2 + len(bits), K] of kernels captured at the end (-1: not
    captured), and `single`: the share of captured kernels that is single at T (nan without a T).
    """
    m, act, V, S, w0 = capture.setting(seed, noise, K)
    ways = [(NormalisedTeacher(), torch.float64), (NormalisedTeacher(), torch.float32)]
    T, winner, single = [], [], []
    for objective, kind in ways + [(Rounded(b), torch.float32) for b in bits]:
        path = pretrain(objective, S.X.to(kind), w0.to(kind), act, lr=LR, steps=steps, snapshots=GRID)
        held = holding(path.kernels, V.to(kind), m, act)
        done = held.semantics.all(-1)
        at = int(done.int().argmax())
        T.append(first_time(done, path.times))
        single.append(held.single[at].sum() / held.captured[at].sum() if done.any() else torch.tensor(torch.nan))
        winner.append(torch.where(held.captured[-1], held.winner[-1], -1))
    return {"T": torch.stack(T), "winner": torch.stack(winner), "single": torch.stack(single)}
