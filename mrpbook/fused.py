"""The same gradients on a GPU, fused.

A kernel of the GPU takes some kernels of the network and some samples, and holds their activations in registers from the
first matrix product to the second: the [N, P, K] activations are never written to device memory. Needs triton.

It is checked in triton's interpreter and compiles for compute capability 8.0 and 9.0, but has not run on a GPU yet: nothing
is known about its speed, and the sizes of the tiles are not tuned.
"""
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from .network import SmoothedReLU
from .objectives import NormalisedTeacher, Objective, PlainDecoder, RescaledTeacher
from .validation import check_choice, check_real, check_same

PROGRAMS = 264  # aimed at, over all tiles of kernels and parts of the data: two for each multiprocessor of an H100 or H200
KINDS, WARPS = (NormalisedTeacher, RescaledTeacher, PlainDecoder), 8

# no_type_check: what triton compiles is not Python, and nothing may be wrapped around it


@triton.jit
@no_type_check
def tile(X, W, first, k, N, K, P, D, ROWS: tl.constexpr, P2: tl.constexpr, D2: tl.constexpr, PRECISION: tl.constexpr):
    """Activations [ROWS, KT] of the samples from `first` on, P2 rows each. Rows past P or N are zero."""
    row = tl.arange(0, ROWS)
    sample = first + row // P2
    where = sample.to(tl.int64) * P + row % P2
    real = (sample < N) & (row % P2 < P)
    a = tl.zeros((ROWS, k.shape[0]), tl.float32)
    for start in range(0, D2, 16):
        i = start + tl.arange(0, 16)
        x = tl.load(X + where[:, None] * D + i[None], real[:, None] & (i < D)[None], 0.0)
        w = tl.load(W + k[None] * D + i[:, None], (k < K)[None] & (i < D)[:, None], 0.0)
        a = tl.dot(x, w, a, input_precision=PRECISION)
    return a


@triton.jit
@no_type_check
def activate(a, P2: tl.constexpr, Q: tl.constexpr):
    """sigma and sigma' [ROWS, KT] and the sum of sigma over patches [ROWS / P2, KT], in units of varrho."""
    u = tl.minimum(tl.maximum(a, 0.0), 1.0)
    slope = u
    for _ in tl.static_range(Q - 2):
        slope *= u
    # a maximum that passes NaN on: kernels that ran away must be seen, not clamped back into range
    sigma = slope * u * (1.0 / Q) + tl.maximum(a - u, 0.0, propagate_nan=tl.PropagateNan.ALL)
    return sigma, slope, tl.sum(tl.reshape(sigma, (a.shape[0] // P2, P2, a.shape[1])), 1)


@triton.jit
@no_type_check
def pull(out, g, X, first, row_0, j, N, P, D, P2: tl.constexpr, SLICE: tl.constexpr, PRECISION: tl.constexpr):
    """out [KT, D2] + g^T x, over the rows from row_0 on. In slices of rows, since triton unrolls the product over rows and
    keeps the operands of all of them in registers: at d = 256 it would spill.
    """
    ROWS: tl.constexpr = g.shape[0]
    if ROWS > SLICE:
        top, bottom = tl.split(tl.permute(tl.reshape(g, (2, ROWS // 2, g.shape[1])), (1, 2, 0)))
        out = pull(out, top, X, first, row_0, j, N, P, D, P2, SLICE, PRECISION)
        out = pull(out, bottom, X, first, row_0 + ROWS // 2, j, N, P, D, P2, SLICE, PRECISION)
    else:
        row = row_0 + tl.arange(0, ROWS)
        sample = first + row // P2
        where = sample.to(tl.int64) * P + row % P2
        real = (sample < N) & (row % P2 < P)
        x = tl.load(X + where[:, None] * D + j[None], real[:, None] & (j < D)[None], 0.0)
        out = tl.dot(tl.trans(g), x, out, input_precision=PRECISION)
    return out


@triton.jit(do_not_specialize=("N", "K", "blocks"))
@no_type_check
def direction_kernel(X, W, FACTOR, OUT, N, K, P, D, blocks, beta, tau, TEACHER: tl.constexpr, Q: tl.constexpr,
                     ROWS: tl.constexpr, P2: tl.constexpr, KT: tl.constexpr, D2: tl.constexpr, SLICE: tl.constexpr,
                     PRECISION: tl.constexpr):
    """OUT [parts, K, D]: sum over the part's samples of [factor h (+ h of the teacher) - beta sigma(a_p)] sigma'(a_p) x_p."""
    k, part = tl.program_id(0) * KT + tl.arange(0, KT), tl.program_id(1)
    j, samples = tl.arange(0, D2), ROWS // P2
    factor = tl.load(FACTOR + k, k < K, 0.0)
    out = tl.zeros((KT, D2), tl.float32)
    for block in range(blocks):
        first = (part * blocks + block) * samples
        a = tile(X, W, first, k, N, K, P, D, ROWS, P2, D2, PRECISION)
        sigma, slope, h = activate(a, P2, Q)
        per_sample = factor[None] * h
        if TEACHER:
            _, _, target = activate(a * tau, P2, Q)
            per_sample += target
        bracket = per_sample[:, None] - beta * tl.reshape(sigma, (ROWS // P2, P2, KT))
        g = tl.reshape(bracket, (ROWS, KT)) * slope
        out = pull(out, g, X, first, 0, j, N, P, D, P2, SLICE, PRECISION)
    tl.store(OUT + (part.to(tl.int64) * K + k)[:, None] * D + j[None], out, (k < K)[:, None] & (j < D)[None])


@triton.jit(do_not_specialize=("N", "K", "blocks"))
@no_type_check
def squares_kernel(X, W, OUT, N, K, P, D, blocks, Q: tl.constexpr, ROWS: tl.constexpr, P2: tl.constexpr, KT: tl.constexpr,
                   D2: tl.constexpr, PRECISION: tl.constexpr):
    """OUT [parts, K]: sum over the part's samples of h^2, in units of varrho^2."""
    k, part = tl.program_id(0) * KT + tl.arange(0, KT), tl.program_id(1)
    total = tl.zeros((KT,), tl.float32)
    for block in range(blocks):
        first = (part * blocks + block) * (ROWS // P2)
        _, _, h = activate(tile(X, W, first, k, N, K, P, D, ROWS, P2, D2, PRECISION), P2, Q)
        total += tl.sum(h * h, 0)
    tl.store(OUT + part * K + k, total, k < K)


def tiles(P: int, K: int, d: int) -> dict[str, int]:
    """Sizes of a program's tile, all powers of two: ROWS rows of data in samples of P2 rows, KT kernels of length D2, and
    SLICE rows at a time in the second product.
    At P = 16 nothing spills at d = 64 (128 registers a thread), two numbers at d = 256. ValueError for P > 256 or d > 1024.
    """
    if P > 256 or d > 1024:
        raise ValueError(f"X has P = {P}, d = {d}: the fused gradient allows P <= 256 and d <= 1024")
    P2, D2 = triton.next_power_of_2(P), max(16, triton.next_power_of_2(d))
    ROWS = max(64, P2)
    KT = min(64, max(16, triton.next_power_of_2(K)), 4096 // ROWS, 16384 // D2)
    return dict(ROWS=ROWS, P2=P2, KT=KT, D2=D2, SLICE=64 if D2 <= 64 else 8)


class FusedDescent:
    """direction = FusedDescent(objective, X, K, act); direction(w) equals objective.descent(w, X, act), [K, d].

    objective: a NormalisedTeacher, RescaledTeacher or PlainDecoder itself (a subclass may have another target); X [N, P, d]
    in float32 on a GPU, P <= 256, d <= 1024. Anything else: ValueError.
    precision: of the two products. 'ieee' is float32. 'tf32' has 10 bits of mantissa and is not for verdicts, until a test
    on a GPU shows that the statistic they rest on does not move.

    The data are added in parts, and the parts in one order: the same call gives the same bits. The returned tensor is
    reused by the next call. Device memory beyond X: about PROGRAMS * 64 * d numbers, or K * d if that is more.
    """

    def __init__(self, objective: Objective, X: Float[Tensor, "N P d"], K: int, act: SmoothedReLU, precision: str = "ieee"):
        check_choice("precision", precision, ("ieee", "tf32"))
        check_choice("type(objective)", type(objective), KINDS)
        if X.dtype != torch.float32:
            raise ValueError(f"X is {X.dtype}: the fused gradient allows torch.float32 only")
        if not (X.is_cuda or triton.knobs.runtime.interpret):
            raise ValueError(f"X is on {X.device}: the fused gradient allows a GPU only (or triton's interpreter)")
        self.objective, self.act, self.X, self.K = objective, act, X.contiguous(), K
        N, P, d = X.shape
        self.alpha, self.beta = objective.weights(P)
        self.size = tiles(P, K, d) | dict(PRECISION=precision, Q=act.q)
        columns, blocks = triton.cdiv(K, self.size["KT"]), triton.cdiv(N, self.size["ROWS"] // self.size["P2"])
        self.blocks = triton.cdiv(blocks, max(1, PROGRAMS // columns))  # in a part
        self.grid = columns, triton.cdiv(blocks, self.blocks)
        self.parts, self.out = X.new_empty(self.grid[1], K, d), X.new_empty(K, d)
        self.squares = X.new_empty(self.grid[1], K)
        # what multiplies the student's own h, [K]; of the normalised teacher it is found anew in every call
        self.factor = X.new_full((K,), 1 - self.alpha if isinstance(objective, PlainDecoder) else -self.alpha)

    def __call__(self, w: Float[Tensor, "K d"]) -> Float[Tensor, "K d"]:
        for what, expected in (("shape", self.out.shape), ("dtype", self.X.dtype), ("device", self.X.device)):
            check_same(f"{what} of w", getattr(w, what), "X and K", expected)
        objective, varrho, N = self.objective, self.act.varrho, len(self.X)
        w, shape, factor = (w / varrho).contiguous(), (N, self.K, *self.X.shape[1:], self.blocks), self.factor
        options = dict(num_warps=WARPS, num_stages=2, enable_fp_fusion=True)
        with torch.cuda.device_of(self.X):
            if isinstance(objective, NormalisedTeacher):
                size = {name: value for name, value in self.size.items() if name != "SLICE"}
                squares_kernel[self.grid](self.X, w, self.squares, *shape, **size, **options)
                factor = objective.scale(self.squares.sum(0) * (varrho**2 / N)) - self.alpha
            tau = getattr(objective, "tau", None)
            direction_kernel[self.grid](self.X, w, factor, self.parts, *shape, self.beta, tau or 1.0, tau is not None,
                                        **self.size, **options)
            return torch.sum(self.parts, 0, out=self.out).mul_(varrho * objective.c * objective.theta / N)


class GraphedSteps:
    """steps = GraphedSteps(direction, w, lr); steps(n) does n times w += lr * direction(w), in place.

    One step is recorded as a CUDA graph and replayed: a step then costs one launch. direction: a FusedDescent; w [K, d] on
    its GPU, changed by every call and by nothing else; lr > 0. Nothing on the host sees a step: look at w after a call.
    """

    def __init__(self, direction: FusedDescent, w: Float[Tensor, "K d"], lr: float):
        self.direction, self.w = direction, w  # the graph holds their addresses
        self.graph = torch.cuda.CUDAGraph()
        check_real("lr", lr, 0, open_low=True)
        with torch.cuda.device_of(w):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                direction(w)  # compiles; nothing may be compiled while recording
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(self.graph):
                w.add_(direction(w), alpha=lr)

    def __call__(self, n: int) -> None:
        for _ in range(n):
            self.graph.replay()
