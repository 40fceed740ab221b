"""One transformer block, and what its parts hold."""
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..data import MultiView, Sample
from ..network import SmoothedReLU
from ..rng import generator
from ..semantics import SINGLE
from ..validation import check_choice
from .capture import setting

ACTIVATIONS = {"q = 4": SmoothedReLU(), "ReLU": nn.ReLU(), "GELU": nn.GELU()}


class Block(nn.Module):
    """One pre-norm block over P patches with a mask token at hidden ones; it answers for the hidden patches only.

    places: learned position embeddings. Without, all hidden patches of a sample ask the same question, so one answer stands
    for all. There is no norm in front of the last layer, so that heads write to the prediction linearly.
    """

    def __init__(self, d: int, P: int, places: bool, activation: str, width: int, heads: int, units: int):
        super().__init__()
        self.embed, self.token = nn.Linear(d, width), nn.Parameter(0.02 * torch.randn(width))
        self.place = nn.Parameter(0.02 * torch.randn(P, width)) if places else None
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, heads, bias=False, batch_first=True)
        self.up, self.down, self.out = nn.Linear(width, units), nn.Linear(units, width), nn.Linear(width, d)
        self.act = ACTIVATIONS[activation]

    def forward(self, X: Float[Tensor, "N P d"], hidden: Int[Tensor, "N H"], weights: bool = False) -> tuple:
        """(predictions [N, H or 1, d], answers of the units [N, H or 1, units], attention [N, heads, H or 1, P] if asked)."""
        index = hidden[..., None].expand(-1, -1, len(self.token))
        tokens = self.embed(X).scatter(1, index, self.token.expand(index.shape))
        ask = self.token.expand(len(X), 1, -1)
        if self.place is not None:
            tokens, ask = tokens + self.place, ask + self.place[hidden]
        said = self.before(tokens)
        heard, attention = self.attend(self.before(ask), said, said, need_weights=weights, average_attn_weights=False)
        ask = ask + heard
        answers = self.act(self.up(self.between(ask)))
        return self.out(ask + self.down(answers)), answers, attention

    def values(self) -> Float[Tensor, "heads d d"]:
        """From a patch to the prediction, through each head's values alone (the norm's gain and centring, not its scale)."""
        heads, width = self.attend.num_heads, len(self.token)
        reading = self.attend.in_proj_weight[2 * width:] * self.before.weight
        reading = (reading - reading.mean(1, keepdim=True)) @ self.embed.weight
        writing = (self.out.weight @ self.attend.out_proj.weight).unflatten(1, (heads, -1)).transpose(0, 1)
        return writing @ reading.unflatten(0, (heads, -1))


def placed(S: Sample, model: MultiView, seed: int, purpose: str) -> tuple[Tensor, Tensor]:
    """(patches [N, P, d], their semantics [N, P]) sorted by part: view 1 of the class, view 2, ..., other classes', the empty.

    Which of the other classes' semantics comes first is drawn at random.
    """
    held = S.patch_semantic
    lots = torch.from_numpy(generator(seed, f"places of {purpose}").random((len(S), model.n)))
    own = (held >= 0) & (held // model.views == S.y[:, None])
    other = torch.where(held >= 0, model.views + lots.gather(1, held.clamp_min(0)), model.views + 1.0)
    order = torch.where(own, (held % model.views).double(), other).argsort(dim=1, stable=True)
    return S.X.gather(1, order[..., None].expand_as(S.X)), held.gather(1, order)


def hide(rng, N: int, model: MultiView, places: bool) -> Int[Tensor, "N H"]:
    """Hidden patches: all of one view of the class, either with equal chance, or, without places, half of all patches."""
    if not places:
        return torch.from_numpy(rng.random((N, model.P)).argsort(1)[:, : model.P // 2].copy())
    return torch.from_numpy(rng.integers(model.views, size=N))[:, None] * model.C_p + torch.arange(model.C_p)


def peaked(overlaps: Float[Tensor, "K n"], seed: int, turns: int = 8) -> tuple[float, float]:
    """Second-largest over largest size of overlap, mean over K: with the semantics, and with the same span turned at random."""
    R = torch.linalg.qr(torch.from_numpy(generator(seed, "turns").standard_normal((turns, *[overlaps.shape[1]] * 2))))[0]
    first, second = torch.stack([overlaps, *(overlaps @ R.to(overlaps.dtype))]).abs().topk(2, dim=2).values.unbind(2)
    ratio = (second / first).mean(1)
    return float(ratio[0]), float(ratio[1:].mean())


def block(seed: int, places: bool = True, activation: str = "q = 4", shuffled: bool = False, steps: int = 100, N: int = 200,
          batch: int = 16, lr: float = 5e-3, width: int = 64, heads: int = 4, units: int = 128, noise: float = 0.1) -> dict:
    """A block trained by Adam to reconstruct hidden patches (mean squared error, fresh masks), read before and after.

    shuffled: what is to be reconstructed is another sample's, so that nothing can be learned but what is common to all.
    Read on 300 held-out samples; all but `mean` and `copied` have an entry before and one after, [2].
    `error`: of hidden patches, over their square; `mean` and `copied`: the same for the mean of the place and for the best
    multiple of the visible patches' mean.
    Units, by their median answer to hidden patches of each semantic of the sample's class, less its mean over semantics:
    `single` and `one_class`, how many (as in `Holding`), and `semantics`, how many are held by some single unit.
    Value directions, the right singular vectors of `Block.values` with singular value at least half of the head's largest:
    `directions` and `directions_single`, how many, `peak` and `turned` as from `peaked`, `inside`, the share of their
    square in the span of the semantics.
    Heads, by the mean attention of hidden to visible patches of each semantic of the sample's class: `heads`, second over
    first; `own`, attention on these patches over that of equal weights. ValueError for an unknown activation.
    """
    check_choice("activation", activation, tuple(ACTIVATIONS))
    model, _, V, S, _ = setting(seed, noise, 1, N=N, mu=0.0)
    held_out = model.sample(300, seed, "held out", mu=0.0)
    (X, _), (X_new, held) = (placed(s, model, seed, p) if places else (s.X, s.patch_semantic)
                             for s, p in ((S, "pretrain"), (held_out, "held out")))
    X, X_new = X / model.patch_strength, X_new / model.patch_strength  # a patch of the class has length about 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, "block").integers(2**63)))
        net = Block(model.d, model.P, places, activation, width, heads, units)
    hidden = hide(generator(seed, "hidden, held out"), len(X_new), model, places)
    before = _read(net, model, V, X_new, held, held_out.y, hidden, seed)
    optimiser, rng = torch.optim.Adam(net.parameters(), lr=lr, fused=True), generator(seed, "batches")
    for _ in range(steps):
        x = X[torch.from_numpy(rng.permutation(N)[:batch])]
        now = hide(rng, batch, model, places)
        target = _at(x.roll(1, 0) if shuffled else x, now)
        optimiser.zero_grad()
        ((net(x, now)[0] - target) ** 2).sum(2).mean().backward()
        optimiser.step()
    after = _read(net, model, V, X_new, held, held_out.y, hidden, seed)
    return {name: torch.tensor([before[name], after[name]]) for name in before} | _without_learning(X_new, hidden)


def _at(x, hidden):
    return x.gather(1, hidden[..., None].expand(-1, -1, x.shape[2]))


@torch.no_grad()
def _without_learning(X, hidden):
    """Errors of the place's mean and of the best multiple of the visible mean."""
    target, visible = _at(X, hidden), torch.ones(X.shape[:2]).scatter(1, hidden, 0.0)[..., None]
    seen = ((X * visible).sum(1, keepdim=True) / visible.sum(1, keepdim=True)).expand_as(target)
    factor = (seen * target).sum() / (seen**2).sum()
    return {name: ((target - guess) ** 2).sum() / (target**2).sum()
            for name, guess in (("mean", X.mean(0)[hidden]), ("copied", factor * seen))}


@torch.no_grad()
def _read(net, model, V, X, held, y, hidden, seed) -> dict:
    predicted, answers, attention = net(X, hidden, weights=True)
    target, truth = _at(X, hidden), held.gather(1, hidden)
    own, semantics = (held >= 0) & (held // model.views == y[:, None]), range(model.n)
    asked = own.gather(1, hidden)
    answers = answers.expand(-1, hidden.shape[1], -1)
    by = torch.stack([answers[asked & (truth == j)].median(0).values for j in semantics], 1)
    by = by - by.mean(1, keepdim=True)  # [units, n]
    single, one_class = _holds(by, model)
    matrices = torch.linalg.svd(net.values())
    large = matrices.S >= matrices.S[:, :1] / 2
    overlaps = matrices.Vh[large] @ V.T
    top = overlaps.abs().topk(2, dim=1).values
    peak, turned = peaked(overlaps, seed)
    visible = torch.ones_like(own).scatter(1, hidden, False) & own
    weight = attention.mean(2)  # [N, heads, P]
    per = torch.stack([weight.transpose(1, 2)[visible & (held == j)].mean(0) for j in semantics], 1)
    two = per.topk(2, dim=1).values
    return {"error": float(((predicted - target) ** 2).sum() / (target**2).sum()), "single": int(single.sum()),
            "one_class": int(one_class.sum()), "semantics": len(by.argmax(1)[single].unique()), "directions": len(overlaps),
            "directions_single": int((top[:, 1] < SINGLE * top[:, 0]).sum()), "peak": peak, "turned": turned,
            "inside": float((overlaps**2).sum(1).mean()), "heads": float((two[:, 1] / two[:, 0]).mean()),
            "own": float((weight * visible[:, None]).sum(2).mean() / visible.float().mean(1).mean())}


def _holds(by, model):
    """Which rows of [units, n] have one large entry, and which are large in one class only."""
    top, winner = by.max(1)
    rest = by.scatter(1, winner[:, None], -torch.inf).amax(1)
    owner = torch.arange(model.n) // model.views
    other = by.masked_fill(owner == (winner // model.views)[:, None], -torch.inf).amax(1)
    answers = top > 1e-6
    return answers & (rest < SINGLE * top), answers & (other < SINGLE * top)
