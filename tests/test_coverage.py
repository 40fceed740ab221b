"""Missing and rare semantics: sampling, basins, the error law."""
import numpy as np
import pytest
import torch

from mrpbook import MultiView, SmoothedReLU, theory, window
from mrpbook.coverage import basins, errors, geometric, imbalanced, least_overlap, mean_square, scores, without

M, SEED = MultiView(), 3


@pytest.fixture(scope="module")
def sample():
    return M.sample(200, SEED, mu=0.2), M.semantics(SEED)


def test_cutting_semantics_out_leaves_the_noise_of_their_patches_and_all_other_patches_alone(sample):
    S, V = sample
    cut = without(S, V, (0, 7))
    gone = (S.patch_semantic == 0) | (S.patch_semantic == 7)
    assert gone.any() and torch.equal(cut.X[~gone], S.X[~gone])
    assert torch.allclose(cut.X[gone], S.X[gone] - S.z[gone][:, None] * V[S.patch_semantic[gone]], atol=1e-6)
    # what is left there is noise of the usual size, also along the semantic itself
    assert float((cut.X[gone] @ V.T).std()) == pytest.approx(M.sigma_p, rel=0.1)


def test_the_records_of_a_cut_sample_agree_with_its_patches(sample):
    S, V = sample
    cut = without(S, V, (0, 7))
    assert not torch.isin(cut.patch_semantic, torch.tensor([0, 7])).any() and (cut.strengths[:, [0, 7]] == 0).all()
    kept = [j for j in range(M.n) if j not in (0, 7)]
    assert torch.equal(cut.strengths[:, kept], S.strengths[:, kept]) and torch.equal(cut.y, S.y)
    assert torch.equal(cut.z == 0, cut.patch_semantic < 0)
    assert torch.equal(without(S, V, ()).X, S.X)


@pytest.mark.parametrize("missing", [(20,), (-1,), (0.5,)])
def test_a_semantic_that_does_not_exist_cannot_be_missing(sample, missing):
    with pytest.raises(ValueError, match="missing"):
        without(*sample, missing)


def test_counts_of_an_imbalanced_sample_are_those_asked_for():
    counts = geometric(M.k, 30, 300)
    S = imbalanced(M, counts, SEED)
    assert torch.bincount(S.y, minlength=M.k).tolist() == list(counts)
    assert counts[0] == pytest.approx(30 * counts[-1], rel=0.2) and abs(sum(counts) - 300) <= 5
    assert (S.y[1:] < S.y[:-1]).any()  # not sorted by class
    assert torch.equal(S.X, imbalanced(M, counts, SEED).X)


@pytest.mark.parametrize("counts", [(1,) * 9, (0,) * 10, (-1,) + (1,) * 9, (1.5,) + (1,) * 9])
def test_counts_that_do_not_fit_are_named(counts):
    with pytest.raises(ValueError, match="counts"):
        imbalanced(M, counts, SEED)


def test_equal_frequencies_have_equal_basins_and_all_kernels_end_somewhere():
    assert basins(np.full(20, 0.1), 4) == pytest.approx(np.full(20, 0.05), abs=1e-6)
    assert basins(np.repeat(geometric(10, 30, 300), 2), 4).sum() == pytest.approx(1, abs=1e-6)


def test_basins_are_the_shares_of_random_starts():
    f = np.array([0.6, 0.25, 0.1, 0.05])
    start = np.random.default_rng(0).standard_normal((200_000, 4))
    best = scores(start, f, 4).argmax(1)
    own = start[np.arange(len(start)), best]
    for least in (0.0, 1.2):
        share = np.bincount(best[own > least], minlength=4) / len(start)
        assert basins(f, 4, least) == pytest.approx(share, abs=0.005)


def test_a_semantic_that_never_occurs_is_never_won_and_leaves_the_others_as_they_are():
    with_zero = basins([0.6, 0.0, 0.4], 4)
    assert with_zero[1] == 0 and with_zero[[0, 2]] == pytest.approx(basins([0.6, 0.4], 4))


def test_of_two_overlaps_that_never_co_occur_the_predicted_one_wins():
    # d lambda_j ~ m_j^2 lambda_j^(2q-1): integrate the quotient on both sides of the separatrix
    f, q = np.array([0.1, 0.9]), 4
    edge = (f[1] / f[0]) ** (1 / (2 * q - 2))
    for factor, winner in ((0.98, 1), (1.02, 0)):
        lam = np.array([edge * factor, 1.0])
        for _ in range(20000):
            push = f * lam ** (2 * q - 1)
            lam = lam + 1e-3 * push / (push / lam).max()
            if lam.max() > 50 * lam.min():
                break
        assert lam.argmax() == winner == scores([edge * factor, 1.0], f, q).argmax()


@pytest.mark.parametrize("frequency", [[-0.1, 1.1], [0.0, 0.0], [[0.5, 0.5]], [np.nan, 1.0]])
def test_frequencies_that_are_none_are_named(frequency):
    with pytest.raises(ValueError, match="frequency"):
        basins(frequency, 4)


def test_the_least_overlap_is_captured_at_its_time_and_a_missing_semantic_never():
    rate = window.rate(0.01, 1.0, SmoothedReLU())
    least = least_overlap(200.0, [rate, 0.0], 4)
    assert window.capture_time(least[0], 1e9, rate, 4) == pytest.approx(200)
    assert least[1] == np.inf


@pytest.mark.parametrize("K", [5, 20, 60])
def test_with_equal_chances_the_error_law_is_that_of_chapter_05(K):
    single, multi = errors(np.full(20, 1 / 20), K, M)
    law = theory.error_law(K, 10, rescue=theory.rescue(K, M))
    assert (single.mean(), multi.mean()) == pytest.approx(law)


def test_many_kernels_leave_the_errors_to_what_was_missing():
    p = np.full(20, 1 / 17)
    p[[0, 1, 2]] = 0  # class 0, and one view of class 1
    single, multi = errors(p, 2000, M)
    assert single[0] == multi[0] == 1 and multi[1:] == pytest.approx(np.zeros(9), abs=1e-9)
    assert 0.45 < single[1] < 0.5 and single[2:] == pytest.approx(np.zeros(8), abs=1e-9)


@pytest.mark.parametrize("p", [np.full(10, 0.1), np.full(20, 0.1), np.full(20, -0.01)])
def test_chances_that_are_none_are_named(p):
    with pytest.raises(ValueError, match="p ="):
        errors(p, 20, M)


def test_the_mean_square_is_that_of_the_samples_and_grows_with_a_single_view_share_of_zero():
    S = M.sample(4000, 0, "strengths", mu=0.1)
    own = [((S.z * (S.patch_semantic == 2 * S.y[:, None] + view)) ** 4).sum(1) ** 2 for view in (0, 1)]
    assert mean_square(M, 4) == pytest.approx(float(torch.stack(own).mean()), rel=1e-4)
    assert mean_square(M, 4, mu=0.0) > mean_square(M, 4, mu=0.5)
