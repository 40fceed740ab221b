"""What a reader brings: a loss or a sampler of their own. The adapters, and the checks that say what is wrong with it."""
import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from joblib.externals.loky.backend import reduction
from torch import Tensor

from .network import SmoothedReLU, initial_kernels
from .objectives import Objective
from .rng import generator
from .validation import check_real

FLOATS = 1e-5  # relative difference between two directions that rounding does not explain


class _Power(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, q, varrho):
        u = a.clamp(0, varrho)
        slope = u / varrho
        slope = slope * slope * slope if q == 4 else slope ** (q - 1)
        ctx.save_for_backward(slope)
        return (a - varrho).clamp_min_(0).addcmul_(slope, u, value=1 / q)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0], None, None


@dataclass(frozen=True)
class QuickReLU(SmoothedReLU):
    """SmoothedReLU whose derivative autograd takes in closed form: the same numbers in a third of the time. Once only."""

    def __call__(self, a: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return _Power.apply(a, self.q, self.varrho)


@runtime_checkable
class DataModel(Protocol):
    """What a sampler must offer. MultiView does; a subclass of it that overrides `sample` needs nothing else.

    k classes of `views` semantics each, n = k * views (semantic i * views + l is view l of class i), in d dimensions;
    patch_strength: mean strength per patch of an own-class semantic, so that a kernel has captured a semantic where its overlap
    times this reaches varrho. What `sample` returns has X, patches [N, P, d], and y, classes in [0, k), [N]; mu: share of
    single-view samples (0: none, 1: all). Both are reproducible by seed; samples of two purposes share no numbers.
    """

    k: int
    views: int
    n: int
    d: int
    patch_strength: float

    def semantics(self, seed: int) -> Float[Tensor, "n d"]: ...

    def sample(self, N: int, seed: int, purpose: str = "train", *, mu: float | None = None) -> Any: ...


@dataclass
class Loss:
    """A reader's loss as an `Objective`: descent is minus its autograd gradient.

    function(w, X, act) or function(w, X, act, masks) returns one number. w: kernels [K, d]; X: patches [N, P, d]; act: the
    activation; masks: 0 or 1, [2, N, P], two masks per sample, fresh at each step, a patch kept with probability theta in
    (0, 1]. What is detached in it is held fixed, like a teacher. Further arguments need defaults.

    independent: whether kernel r's direction depends on kernel r alone and on no past; then private clocks are allowed
    (`pretrain_along_arcs`). Left False, the loss gets plain descent. The test bench refutes a wrong True.
    rate: learning rate; None: the bench looks for one. seed: keys the masks.

    ValueError for a function with other arguments, and from `descent` for a value that is no number or has no gradient.
    """

    function: Callable
    theta: float = 0.5
    independent: bool = False
    rate: float | None = None
    seed: int = 0
    step: int = field(default=0, init=False, repr=False)

    def __post_init__(self):
        check_real("theta", self.theta, 0, 1, open_low=True)
        if self.rate is not None:
            check_real("rate", self.rate, 0, open_low=True)
        if not callable(self.function):
            raise ValueError(f"function = {self.function!r}: expected a function of (w, X, act) or (w, X, act, masks)")
        signature = inspect.signature(self.function)
        self.masked = "masks" in signature.parameters
        try:
            signature.bind(*"wXa", **({"masks": 0} if self.masked else {}))
        except TypeError:
            raise ValueError(f"function takes {signature}: expected (w, X, act) or (w, X, act, masks); others need defaults"
                             ) from None

    def fresh(self, seed: int) -> "Loss":
        """The same loss before its first step, with the masks of `seed`."""
        return replace(self, seed=seed)

    def masks(self, N: int, P: int) -> Float[Tensor, "2 N P"]:
        """The masks of the present step."""
        draws = generator(self.seed, "masks", self.step).random((2, N, P), dtype="float32")
        return torch.from_numpy(draws < self.theta).float()

    def value(self, w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU) -> Tensor:
        """The function at w, with the masks of the present step; ValueError if that is not one number."""
        masks = {"masks": self.masks(*X.shape[:2]).to(X)} if self.masked else {}
        value = self.function(w, X, act, **masks)
        if not isinstance(value, Tensor):
            what = type(value).__name__
            raise ValueError(f"it returns a {what}: expected a torch tensor of one number; .item() and NumPy cut the gradient")
        if value.numel() != 1:
            raise ValueError(f"it returns shape {tuple(value.shape)}: expected one number; take its .mean()")
        return value.reshape(())

    def descent(self, w: Float[Tensor, "K d"], X: Float[Tensor, "N P d"], act: SmoothedReLU) -> Float[Tensor, "K d"]:
        """Minus the gradient with respect to w; the next call has the next masks."""
        w = w.detach().requires_grad_()
        with torch.enable_grad():
            value = self.value(w, X, act)
        self.step += 1
        gradient = torch.autograd.grad(value, w, allow_unused=True)[0] if value.requires_grad else None
        if gradient is None:
            raise ValueError("no gradient reaches w: expected a value computed from w by torch operations; detach(), no_grad, "
                             "NumPy and comparisons cut it")
        return -gradient


def fresh(objective: Objective, seed: int) -> Objective:
    """The objective as it is before the first step of a run; a run never sees the past of another."""
    return objective.fresh(seed) if isinstance(objective, Loss) else copy.deepcopy(objective)


def check_model(model: DataModel, seed: int = 0) -> None:
    """ValueError that says what a sampler lacks, or which of its answers has the wrong shape, range or key."""
    name = type(model).__name__
    missing = [part for part in ("k", "views", "n", "d", "patch_strength", "semantics", "sample") if not hasattr(model, part)]
    if missing:
        raise ValueError(f"sampler {name} lacks {', '.join(missing)}; DataModel says what they are")

    def expect(fine, what, expected):
        if not fine:
            raise ValueError(f"sampler {name}: {what}: expected {expected}")

    expect(model.n == model.k * model.views, f"n = {model.n}", f"k * views = {model.k * model.views}")
    check_real(f"sampler {name}: patch_strength", model.patch_strength, 0, open_low=True)
    V = model.semantics(seed)
    expect(tuple(V.shape) == (model.n, model.d), f"semantics has shape {tuple(V.shape)}", f"[n, d] = [{model.n}, {model.d}]")
    lengths = V.norm(dim=1)
    expect(((lengths - 1).abs() < 1e-3).all(), f"semantics have lengths {lengths.min():.3g} to {lengths.max():.3g}", "1")
    one, again, other, test = (model.sample(30, s, purpose, mu=0.5) for s, purpose in
                               ((seed, "check"), (seed, "check"), (seed + 1, "check"), (seed, "another purpose")))
    expect(hasattr(one, "X") and hasattr(one, "y"), f"sample returns a {type(one).__name__}", "something with X and y")
    X, y = one.X, one.y
    expect(X.ndim == 3 and len(X) == 30 and X.shape[2] == model.d, f"X has shape {tuple(X.shape)} for N = 30",
           f"[N, P, d] = [30, P, {model.d}]")
    expect(X.dtype == torch.float32 and X.isfinite().all(), f"X is {X.dtype}, {int((~X.isfinite()).sum())} of it not finite",
           "finite float32")
    expect(tuple(y.shape) == (30,) and not y.is_floating_point() and 0 <= int(y.min()) <= int(y.max()) < model.k,
           f"y is {y.dtype} of shape {tuple(y.shape)}, from {y.min()} to {y.max()}", f"[N], integers in [0, {model.k})")
    expect(torch.equal(X, again.X), "the same seed and purpose gave two samples", "one; key every draw by (seed, purpose)")
    expect(not torch.equal(X, other.X), "two seeds gave the same sample", "two; key every draw by (seed, purpose)")
    expect(not torch.equal(X, test.X), "two purposes gave the same sample, so tests would repeat the training data", "two")


def check_objective(name: str, objective: Objective, X: Float[Tensor, "N P d"], K: int, seed: int = 0) -> bool:
    """Whether one kernel changes another's direction, at the initial kernels and at ten times their length.

    ValueError that says what is wrong: a value or direction of the wrong shape, not finite, without gradient or zero; or a
    statement of independence that this refutes.
    """
    def wrong(what):
        return ValueError(f"objective {name!r}: {what}")

    if not isinstance(objective, Objective):
        raise wrong(f"{type(objective).__name__} lacks descent or independent: expected an Objective, a Loss or a function")
    try:
        reduction.dumps(objective)  # as joblib sends it
    except Exception as error:
        raise wrong(f"it cannot be sent to another process ({error}); keep open files and generators out of it") from error
    act, w0 = QuickReLU(), initial_kernels(K, X.shape[2], seed)
    coupled = False
    for scale in (1.0, 10.0):
        w = scale * w0
        g = _direction(name, objective, w, X, act, seed)
        where = f"at initial kernels{' times 10' if scale > 1 else ''}"
        if not g.isfinite().all():
            raise wrong(f"the direction is not finite {where}; usual causes: division by the norm of a silent answer, and the "
                        "root or norm of 0, whose slope is infinite (add a small number inside)")
        if not g.any():
            raise wrong(f"the direction is exactly 0 {where}, so nothing would move; usual causes: everything is detached, or "
                        "products of small answers underflow (divide by their size)")
        nudged = w.clone()
        nudged[0] *= 1.5
        change = (_direction(name, objective, nudged, X, act, seed) - g)[1:].norm() / g[1:].norm()
        coupled |= bool(change > FLOATS)
        if objective.independent and coupled:
            raise wrong(f"independent = True, but a change of one kernel changed the directions of the others by {change:.1g} "
                        "of their length: expected independent = False")
    if objective.independent:
        used = fresh(objective, seed)
        first, _, later = (used.descent(scale * w0, X, act) for scale in (1.0, 10.0, 1.0))
        if (later - first).norm() > FLOATS * first.norm():
            raise wrong("independent = True, but its direction depends on the step or the past: expected independent = False")
    return coupled


def _direction(name, objective, w, X, act, seed):
    try:
        g = fresh(objective, seed).descent(w.clone(), X, act)
    except ValueError as error:
        raise ValueError(f"objective {name!r}: {error}") from error
    except Exception as error:
        error.add_note(f"in objective {name!r}, called with w {list(w.shape)}, X {list(X.shape)}, masks [2, N, P] if it asks")
        raise
    if not isinstance(g, Tensor) or g.shape != w.shape:
        shape = f"shape {tuple(g.shape)}" if isinstance(g, Tensor) else f"a {type(g).__name__}"
        raise ValueError(f"objective {name!r}: descent returns {shape}: expected [K, d] = {list(w.shape)}")
    return g
