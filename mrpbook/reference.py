"""The model's equations in plain NumPy, for referees.

Float64, loops where a loop is the definition, masks by enumeration. Nothing of the package is imported here, and the package
imports this only to be compared with it: the fast code must equal these functions. Sources: "recalled" from Pan et al. or
Allen-Zhu & Li, "derived" (proof in a line), "ours" (a choice). Shapes: w [K, d] kernels, X [N, P, d] samples, H [N, K] targets.
"""
from itertools import product

import numpy as np


def relu(a, q=4, varrho=0.3):
    """sigma(a) = 0, a^q / (q varrho^(q-1)), a - (1 - 1/q) varrho for a <= 0, <= varrho, beyond (recalled)."""
    power = np.where(a > 0, a, 0.0) ** q / (q * varrho ** (q - 1))
    return np.where(a <= varrho, power, a - (1 - 1 / q) * varrho)


def relu_derivative(a, q=4, varrho=0.3):
    """sigma'(a) = 0, (a / varrho)^(q-1), 1 in the same three ranges (derived)."""
    return np.where(a <= 0, 0.0, np.where(a <= varrho, np.abs(a / varrho) ** (q - 1), 1.0))


def activations(w, X):
    """a_npr = <w_r, x_np>, [N, P, K]."""
    return np.einsum("npd,rd->npr", X, w)


def plain_target(w, X, q=4, varrho=0.3):
    """H = h = sum_p sigma(a_p), the student's own answer (ours)."""
    return relu(activations(w, X), q, varrho).sum(1)


def rescaled_target(w, X, tau, q=4, varrho=0.3):
    """H = sum_p sigma(tau a_p): the answer of a teacher with weights tau w (recalled)."""
    return relu(tau * activations(w, X), q, varrho).sum(1)


def normalised_target(w, X, A=1.0, q=4, varrho=0.3):
    """H = A h / sqrt(mean over the data of h^2); 0 for a silent kernel (ours)."""
    h = plain_target(w, X, q, varrho)
    size = np.sqrt((h**2).mean(0))
    return A * h / np.where(size > 0, size, 1.0)


def masks(P, theta, law="bernoulli"):
    """Every mask eps in {0, 1}^P with its probability: patches kept independently with probability theta, or exactly
    theta P of them kept, every choice equally likely (recalled; 1 = kept). P <= 10.
    """
    if P > 10:
        raise ValueError(f"P = {P}: expected at most 10, there are 2^P masks")
    every = np.array(list(product((0.0, 1.0), repeat=P)))
    if law == "fixed count":
        every = every[every.sum(1) == round(theta * P)]
        return every, np.full(len(every), 1 / len(every))
    count = every.sum(1)
    return every, theta**count * (1 - theta) ** (P - count)


def masked_loss(w, X, H, theta, c, law="bernoulli", q=4, varrho=0.3):
    """L = 1/(2N) sum_n sum_r E_eps (H - c sum_p eps_p sigma(a_p))^2, by enumeration (recalled form)."""
    sigma = relu(activations(w, X), q, varrho)
    return sum(chance * ((H - c * np.einsum("p,npr->nr", eps, sigma)) ** 2).sum() / (2 * len(X))
               for eps, chance in zip(*masks(X.shape[1], theta, law), strict=True))


def masked_direction(w, X, H, theta, c, law="bernoulli", q=4, varrho=0.3):
    """Minus the gradient of that loss with H held fixed, by enumeration:
    c/N sum_n E_eps (H - c sum_p eps_p sigma(a_p)) sum_p eps_p sigma'(a_p) x_p.
    """
    a = activations(w, X)
    sigma, slope, total = relu(a, q, varrho), relu_derivative(a, q, varrho), np.zeros_like(w)
    for eps, chance in zip(*masks(X.shape[1], theta, law), strict=True):
        gap = H - c * np.einsum("p,npr->nr", eps, sigma)
        total += chance * c / len(X) * np.einsum("nr,p,npr,npd->rd", gap, eps, slope, X, optimize=True)
    return total


def closed_form_direction(w, X, H, theta, c, law="bernoulli", q=4, varrho=0.3):
    """c theta / N sum_n sum_p [H - c theta h - c (1 - theta) m_p] sigma'(a_p) x_p with m_p = sigma(a_p) for independent
    masks, P/(P-1) [sigma(a_p) - h/P] for a fixed count (derived: Pr(both kept) = theta (theta P - 1) / (P - 1)).
    """
    a, P = activations(w, X), X.shape[1]
    sigma, slope = relu(a, q, varrho), relu_derivative(a, q, varrho)
    h = sigma.sum(1)[:, None]
    m = sigma if law == "bernoulli" else P / (P - 1) * (sigma - h / P)
    bracket = H[:, None] - c * theta * h - c * (1 - theta) * m
    return c * theta / len(X) * np.einsum("npr,npd->rd", bracket * slope, X)


def descent_step(w, direction, lr):
    """w <- w + lr x direction, the same lr for all kernels: one common clock (recalled)."""
    return w + lr * direction


def draw_sample(p, V, rng):
    """One sample of the multi-view distribution (recalled from Allen-Zhu & Li; numbers at finite k are ours).

    p: k, views, P, C_p, s, mu, rho, Gamma, gamma, sigma_p, own, off; V: semantics [views k, d], row i views + l is view l
    of class i. Returns x [P, d], y, strong (-1: multi-view), strengths [n], patch_semantic [P], z [P].
    """
    n, d = V.shape
    y = int(rng.integers(p.k))
    strong = int(rng.integers(p.views)) if rng.random() < p.mu else -1
    strengths, others = np.zeros(n), []
    for j in range(n):
        if j // p.views == y:
            weak = strong >= 0 and j % p.views != strong
            strengths[j] = rng.uniform(*p.own) * (p.rho if weak else 1.0)
        elif rng.random() < p.s / p.k:
            others.append(j)
    rng.shuffle(others)
    for j in others[:p.P // p.C_p - p.views]:  # the rest find no patches
        strengths[j] = rng.uniform(*p.off) if strong < 0 else rng.uniform(p.Gamma / 2, p.Gamma)
    patch_semantic, z, x = np.full(p.P, -1), np.zeros(p.P), np.zeros((p.P, d))
    free = list(rng.permutation(p.P))
    for j in np.flatnonzero(strengths):
        mine = [free.pop() for _ in range(p.C_p)]
        share = 0.5 + rng.random(p.C_p)
        patch_semantic[mine], z[mine] = j, strengths[j] * share / share.sum()
    for i in range(p.P):
        if patch_semantic[i] >= 0:
            x[i] = z[i] * V[patch_semantic[i]]
        x[i] += rng.uniform(0, p.gamma, n) @ V + rng.normal(0, p.sigma_p, d)
    return x, y, strong, strengths, patch_semantic, z


def broken_conditions(p, y, strong, strengths, patch_semantic, z, tol=1e-5):
    """Names of the conditions of the definition that a sample breaks (none: [])."""
    n, broken = p.views * p.k, []
    own = [y * p.views + view for view in range(p.views)]
    for j in range(n):
        where = patch_semantic == j
        if where.sum() != (p.C_p if strengths[j] > 0 else 0):
            broken.append("a semantic present occupies C_p patches, an absent one none")
        if abs(z[where].sum() - strengths[j]) > tol:
            broken.append("the strengths of a semantic's patches add up to its strength")
        if where.any() and z[where].max() > 3 * z[where].min() + tol:
            broken.append("strengths within a semantic are proportional to numbers between 0.5 and 1.5")
        if j in own:
            low, high = np.array(p.own) * (p.rho if strong >= 0 and j % p.views != strong else 1.0)
        else:
            low, high = p.off if strong < 0 else (p.Gamma / 2, p.Gamma)
        if (j in own or strengths[j] > 0) and not low - tol <= strengths[j] <= high + tol:
            broken.append("own" if j in own else "other")
    if not -1 <= strong < p.views:
        broken.append("the strong view is one of the views, -1 for multi-view samples")
    if (strengths > 0).sum() > p.P // p.C_p:
        broken.append("there is room for what is present")
    if (z[patch_semantic == -1] != 0).any():
        broken.append("a patch without a semantic has strength 0")
    return broken


def what_a_kernel_holds(w, V, views, patch_strength, varrho=0.3, limit=0.3):
    """(largest semantic, captured, single, one_class) of one kernel w [d] (ours).

    Captured: largest overlap x mean strength per patch >= varrho. Single: the second-largest overlap is below `limit` of
    the largest. One-class: the largest overlap with another class's semantic is. The last two ask for captured as well.
    """
    overlap = [float(np.dot(w, v)) for v in V]
    order = sorted(range(len(V)), key=lambda j: -overlap[j])
    first, second = order[:2]
    captured = overlap[first] * patch_strength >= varrho
    other = max(overlap[j] for j in range(len(V)) if j // views != first // views)
    return (first, captured, captured and overlap[second] < limit * overlap[first],
            captured and other < limit * overlap[first])


def coupons(K, n):
    """Over all n^K equally likely outcomes: mean and standard deviation of the captured share, P(all) (coupon collector)."""
    counts = np.array([len(set(outcome)) for outcome in product(range(n), repeat=K)])
    return counts.mean() / n, counts.std() / n, (counts == n).mean()


def cross_entropy_gradient(w, u, X, y, q=4, varrho=0.3):
    """F_i = sum_r u_ir h_r(X); L = -mean_n log softmax(F)_y. Returns L, dL/dw [K, d], dL/du [k, K] (recalled network;
    with u fixed to 1 on a class's own kernels it is that of Allen-Zhu & Li).
    """
    loss, gw, gu = 0.0, np.zeros_like(w), np.zeros_like(u)
    for x, label in zip(X, y, strict=True):
        a = x @ w.T
        h = relu(a, q, varrho).sum(0)
        F = u @ h
        p = np.exp(F - F.max()) / np.exp(F - F.max()).sum()
        loss -= np.log(p[label]) / len(X)
        residual = (p - np.eye(len(u))[label]) / len(X)
        gu += np.outer(residual, h)
        gw += (u.T @ residual)[:, None] * (relu_derivative(a, q, varrho).T @ x)
    return loss, gw, gu
