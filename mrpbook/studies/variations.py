"""One draw with another optimiser, activation or axes."""
import torch
from scipy.linalg import hadamard

from ..network import SmoothedReLU, activations, initial_kernels, responses
from ..objectives import NormalisedTeacher
from ..optimisers import follow, gradient_of
from ..rectifiers import Rectifier
from ..semantics import SINGLE
from ..supervised import Network, fixed_head
from ..validation import check_choice
from .capture import setting
from .downstream import right, test_sets

# rates of supervised kernels under a fixed head, and of pretraining: descent's common time passes at the rate itself
SUPERVISED = {"descent": 16.0, "momentum": 1.6, "one length": 0.02, "one length per kernel": 0.05, "sign": 0.005, "Adam": 0.005}
PRETRAINED = {"descent": 2.0, "one length per kernel": 0.05, "sign": 0.01, "Adam": 0.01}
ACTIVATIONS = {"q = 4": SmoothedReLU(4), "q = 3": SmoothedReLU(3), "q = 2": SmoothedReLU(2), "ReLU": Rectifier(),
               "GELU": Rectifier(kind="gelu")}


def turned(V, axes: str):
    """A rotation Q [d, d] of the coordinates, x -> x @ Q.T, after which semantics V [n, d] lie along the first 'axes', along
    'hadamard' columns (all coordinates of one size; d a power of 2), or 'random' where they are: Q is the identity.
    """
    check_choice("axes", axes, ("random", "axes", "hadamard"))
    d = V.shape[1]
    if axes == "random":
        return torch.eye(d)
    q, r = torch.linalg.qr(torch.cat([V.double(), torch.eye(d, dtype=torch.float64)]).T)
    Q = (q * torch.sign(torch.diagonal(r))).T
    return (Q if axes == "axes" else torch.from_numpy(hadamard(d) / d**0.5) @ Q).to(V.dtype)


def lottery(seed: int, rule: str = "descent", m: int = 6, N: int = 150, eps: float = 1e-8, lr: float | None = None,
            noise: float = 0.1, loss: float = 0.01, steps: int = 1000) -> dict:
    """Supervised learning with m kernels per class and a fixed head, N multi-view labels, by a rule of `optimisers.RULES`.

    eps: of Adam. Returns whether each class has
    `both` views [k] (some kernel of its own holds each), and `split` [k]: whether both views were somebody's favourite at the
    start (largest overlap among a kernel's own two views), which is what a race inside kernels alone predicts; `correct` [2],
    the loss, whether it was `reached`, and the steps.
    """
    model, act, V, _, _ = setting(seed, noise, 1)
    S, tests = model.sample(N, seed, "labels", mu=0.0), test_sets(model, seed)
    w0, u = initial_kernels(model.k * m, model.d, seed, purpose="supervised 0"), fixed_head(model.k, m)
    network = Network(S.X, S.y, len(w0), act)
    value = []

    def gradient(w):
        now, g, _ = network.gradient(w, u, head=False)
        value.append(float(now))
        return g

    options = {"eps": eps} if rule == "Adam" else {}
    path = follow(gradient, w0, rule, lr=lr or SUPERVISED[rule], steps=steps,
                  stop=lambda w: bool(value) and value[-1] <= loss, **options)
    w = path[-1]
    own, first = (_own(k, V, model, m) for k in (w, w0))  # [k, m, views]
    best = own.amax(1)
    return {"both": (best * model.patch_strength >= act.varrho).all(1), "split": _split(first), "loss": value[-1],
            "ratio": best.amin(1) / best.amax(1), "correct": right([responses(w, t.X, act) @ u.T for t in tests], tests),
            "reached": value[-1] <= loss, "steps": len(value)}


def _own(w, V, model, m):
    """Overlaps of each class's kernels with the class's own views [k, m, views]."""
    lam = (w @ V.T).view(model.k, m, model.n)
    return torch.stack([lam[i, :, i * model.views:(i + 1) * model.views] for i in range(model.k)])


def _split(first):
    """Whether every view is the favourite of some kernel of its class [k]."""
    favourite = first.argmax(2)
    return torch.stack([(favourite == view).any(1) for view in range(first.shape[2])]).all(0)


def pretrained(seed: int, rule: str = "descent", activation: str = "q = 4", axes: str = "random", K: int = 40, steps: int = 150,
               noise: float = 0.1, theta: float = 0.9, every: int = 5, lr: float | None = None, share: float = 0.8) -> dict:
    """Pretraining with the normalised teacher in d = 64 dimensions by another rule, activation, or after a rotation (`turned`).

    A kernel has *grown* when its root mean square answer is at least half of its target's, a measure that no activation is
    favoured by. Per state, 0, every, ... steps: `grown` [T], and of the grown `single` and `one_class` [T], whether captured or
    not. At the first state with at least `share` grown (the last if there is none): `at`, the same three as counts (`grown_at`,
    `single_at`, `one_class_at`), `second` [K], second-largest overlap as a share of the largest, `other`, the same for the
    largest of another class, and `crosstalk`, median over the grown of the root mean square of all other overlaps in
    that unit; `winner` [K] (-1: not grown)
    and `overlaps` [K, n] there; `semantics`: largest overlaps of some grown kernel.
    """
    model, base, V, S, w0 = setting(seed, noise, K, d=64)
    objective, act = NormalisedTeacher(theta), ACTIVATIONS[activation]
    turn = turned(V, axes)
    gradient = gradient_of(objective, S.X @ turn.T, K, act)
    path = follow(gradient, w0 @ turn.T, rule, lr=lr or PRETRAINED[rule], steps=steps, every=every)
    states = [_state(w @ turn, V, S, act, objective.A, model) for w in path]
    grown = torch.stack([s["grown"].float().mean() for s in states])
    row = int((grown >= share).int().argmax()) if (grown >= share).any() else len(states) - 1
    at = states[row]
    of = [(s, s["grown"].sum().clamp_min(1)) for s in states]
    held = at["grown"]
    return {"grown": grown, "at": row * every, "reached": bool((grown >= share).any()), "grown_at": held.sum(),
            "single": torch.stack([(s["grown"] & (s["second"] < SINGLE)).sum() / n for s, n in of]),
            "one_class": torch.stack([(s["grown"] & (s["other"] < SINGLE)).sum() / n for s, n in of]),
            "single_at": (held & (at["second"] < SINGLE)).sum(), "one_class_at": (held & (at["other"] < SINGLE)).sum(),
            "second": at["second"], "other": at["other"], "overlaps": at["overlaps"],
            "winner": torch.where(held, at["winner"], -1), "crosstalk": at["crosstalk"][held].median(),
            "semantics": len(at["winner"][held].unique())}


def _state(w, V, S, act, A, model):
    """What `pretrained` reads from one state."""
    h = act(activations(w, S.X)).sum(1)
    lam = w @ V.T
    top, winner = lam.max(1)
    owner = torch.arange(model.n) // model.views
    rest = lam.scatter(1, winner[:, None], -torch.inf)
    other = lam.masked_fill(owner == (winner // model.views)[:, None], -torch.inf).amax(1)
    cross = ((lam**2).sum(1) - top**2).clamp_min(0) / (model.n - 1)
    return {"grown": (h**2).mean(0).sqrt() >= A / 2, "second": rest.amax(1) / top, "other": other / top, "winner": winner,
            "crosstalk": cross.sqrt() / top, "overlaps": lam}


def cosine(q: int, seed: int = 0, N: int = 2000) -> tuple[float, float]:
    """chi = E[S_1 S_2] / sqrt(E S_1^2 E S_2^2), S_j = sum_p z_p^q, of the two views of a class and of views of two classes."""
    model, *_ = setting(seed, 0.0, 1)
    S = model.sample(N, seed, "cosine", mu=0.1)
    powers = torch.stack([((S.patch_semantic == j) * S.z**q).sum(1) for j in (0, 1, 2)]).double()
    gram = powers @ powers.T
    size = gram.diagonal().sqrt()
    return float(gram[0, 1] / size[0] / size[1]), float(gram[0, 2] / size[0] / size[2])
