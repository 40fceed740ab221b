import os
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from mrpbook.images import checkpoints
from mrpbook.images.batches import Batches
from mrpbook.images.mae import FeatureTargets
from mrpbook.images.training import Plan, train
from mrpbook.images.vit import ViT
from mrpbook.pretrain import Diverged

PICTURES = torch.randint(256, (200, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
BATCHES = Batches(PICTURES, 16, seed=3, masks=(16, 0.75))


def model(seed=0):
    return FeatureTargets(ViT((1, 8, 8), 2, 16, 2, 4, seed=seed), decoder_width=12, decoder_heads=3, decay=0.9, seed=seed)


class Killed(Exception):
    pass


@dataclass(frozen=True)
class Dying(Batches):
    """Batches of a process that is killed in step `last`."""

    last: int = 13

    def __call__(self, step, part=0, parts=1):
        if step == self.last:
            raise Killed
        return super().__call__(step, part, parts)


def same(a: nn.Module, b: nn.Module) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(weight, theirs[name]) for name, weight in a.state_dict().items())


def numbered(N, size, **options):
    """Batches of pictures that are all n / 255 inside, n the number of the picture."""
    x = torch.arange(N, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)
    return Batches(x, size, **options)


def test_equal_seeds_give_equal_weights_and_other_seeds_others():
    runs = [model(), model(), model()]
    for run, seed in zip(runs, (3, 3, 4), strict=True):
        torch.manual_seed(os.getpid())
        train(run, Batches(PICTURES, 16, seed=seed, masks=(16, 0.75)), Plan(5))
    assert same(runs[0], runs[1]) and not same(runs[0], runs[2])


def test_a_run_killed_twice_and_resumed_ends_with_the_same_bits_as_one_that_never_stopped(tmp_path):
    whole, file, plan = model(), tmp_path / "new" / "run.pt", Plan(20)
    losses = train(whole, BATCHES, plan)
    for last in (7, 13):
        with pytest.raises(Killed):
            train(model(), Dying(PICTURES, 16, seed=3, masks=(16, 0.75), last=last), plan, checkpoint=file, every=5)
    resumed = model()
    assert torch.equal(train(resumed, BATCHES, plan, checkpoint=file, every=5), losses)
    assert same(resumed, whole)


def test_a_finished_run_is_read_and_not_computed(tmp_path):
    file, first, second = tmp_path / "run.pt", model(), model()
    losses = train(first, BATCHES, Plan(12), checkpoint=file)
    again = train(second, Dying(PICTURES, 16, seed=3, masks=(16, 0.75), last=0), Plan(12), checkpoint=file)
    assert torch.equal(losses, again) and same(first, second)


def test_a_run_killed_while_it_writes_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    file = tmp_path / "run.pt"
    train(model(), BATCHES, Plan(4), checkpoint=file)
    finished, save = file.read_bytes(), torch.save

    def half(state, out):
        save(state, out)
        out.truncate(out.tell() // 2)
        raise Killed

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(Killed):
        checkpoints.write(file, {"losses": torch.zeros(3)})
    assert file.read_bytes() == finished and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("change, complaint", [
    ({"plan": Plan(13)}, "other plan"), ({"batches": Batches(PICTURES, 16, seed=4, masks=(16, 0.75))}, "other batches"),
    ({"batches": Batches(PICTURES.flip(0), 16, seed=3, masks=(16, 0.75))}, "other batches"),
    ({"model": model(seed=1)}, "other model"),  # other weights at the start
    ({"model": FeatureTargets(ViT((1, 8, 8), 2, 16, 2, 4), decoder_width=12, decoder_heads=3, decay=0.8)}, "other model")])
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change, complaint):
    run = {"model": model(), "batches": BATCHES, "plan": Plan(12)}
    train(**run, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match=rf"checkpoint = .*run\.pt: .*{complaint}"):
        train(**run | change, checkpoint=tmp_path / "run.pt")


class Code:
    def __reduce__(self):
        return os.system, ("touch harm",)


@pytest.mark.parametrize("content", ["cut", "code", "empty"])
def test_a_damaged_checkpoint_or_one_with_code_inside_is_refused_and_runs_nothing(tmp_path, content, monkeypatch):
    file = tmp_path / "run.pt"
    train(model(), BATCHES, Plan(3), checkpoint=file)
    if content == "code":
        torch.save({"plan": Code()}, file)
    else:
        file.write_bytes(file.read_bytes()[: 2000 if content == "cut" else 0])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"cannot be read .* delete it"):
        train(model(), BATCHES, Plan(3), checkpoint=file)
    assert not (tmp_path / "harm").exists()


def test_a_run_that_leaves_the_finite_numbers_says_from_which_step_and_leaves_no_checkpoint(tmp_path):
    class Exploding(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.calls = nn.Parameter(torch.ones(1)), 0

        def forward(self, pictures):
            self.calls += 1
            return self.w.sum() / (0 if self.calls == 4 else 1)

    with pytest.raises(Diverged, match="from step 3 on"):
        train(Exploding(), numbered(5, 2), Plan(6), checkpoint=tmp_path / "run.pt")
    assert not list(tmp_path.iterdir())


def test_the_rate_rises_linearly_to_its_peak_and_falls_as_half_a_cosine():
    plan = Plan(100, lr=2.0, warm_up=0.2)
    rates = np.array([plan.rate(step) for step in range(100)])
    np.testing.assert_allclose(rates[:20], 2.0 * np.arange(1, 21) / 20)
    np.testing.assert_allclose(rates[20:], 1 + np.cos(np.pi * np.arange(80) / 80))


def test_every_picture_comes_once_before_any_comes_twice():
    batches = numbered(7, 3)
    chain = [int(n) for step in range(14) for n in batches.index(step)]
    for start in range(0, 42, 7):
        assert sorted(chain[start : start + 7]) == list(range(7))
    assert chain[:7] != chain[7:14]


def test_labels_stay_with_their_pictures_whatever_is_cropped_and_flipped():
    batches = numbered(9, 5, labels=torch.arange(9), crop=1, flip=True)
    for step in range(6):
        x, y = batches(step)
        assert torch.equal((x[:, 0, 1:3, 1:3] * 255).round().long(), y[:, None, None].expand(-1, 2, 2))


def test_crops_and_flips_are_all_the_shifted_and_mirrored_pictures_equally_often():
    x = torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(0)).expand(4, -1, -1, -1)
    batches, padded, names = Batches(x, 4, crop=1, flip=True), nn.functional.pad(x[0, 0], (1,) * 4), {}
    for top in range(3):
        for left in range(3):
            window = padded[top : top + 3, left : left + 3]
            for mirrored, shown in enumerate((window, window.flip(1))):
                names[tuple(shown.flatten().tolist())] = top, left, mirrored
    seen = Counter(names[tuple(p.flatten().tolist())] for step in range(450) for p in batches(step)[0])
    assert len(seen) == 18 and min(seen.values()) > 60 and max(seen.values()) < 145  # 100 expected, +- 4 standard deviations


def test_without_crop_and_flip_pictures_come_as_they_are_and_bytes_become_shares_of_one():
    x, visible, hidden = BATCHES(4)
    assert torch.equal(x, PICTURES[torch.from_numpy(BATCHES.index(4))].float() / 255)
    assert visible.shape == (16, 4) and hidden.shape == (16, 12)


def test_shares_of_a_batch_are_the_batch():
    batches = Batches(PICTURES, 12, labels=torch.arange(200), masks=(16, 0.5), crop=1, flip=True)
    whole, parts = batches(5), [batches(5, part, 3) for part in range(3)]
    for i, tensor in enumerate(whole):
        assert torch.equal(torch.cat([part[i] for part in parts]), tensor)
    with pytest.raises(ValueError, match="size = 12: expected a multiple of the 5 processes"):
        batches(5, 0, 5)


@pytest.mark.parametrize("call, complaint", [
    (lambda: Plan(0), "steps = 0"), (lambda: Plan(5, lr=0.0), "lr = 0"), (lambda: Plan(5, warm_up=1.0), "warm_up = 1"),
    (lambda: Plan(5, weight_decay=-1.0), "weight_decay = -1"), (lambda: numbered(5, 6), "size = 6: expected 1 to 5"),
    (lambda: numbered(5, 0), "size = 0"), (lambda: numbered(5, 2, labels=torch.arange(4)), "labels: 4 for 5"),
    (lambda: numbered(5, 2, masks=(4, 1.0)), "ratio = 1"), (lambda: numbered(5, 2, crop=-1), "crop = -1"),
    (lambda: Batches(PICTURES[:, 0], 2), r"pictures \(200, 8, 8\)"), (lambda: Batches(PICTURES.long(), 2), "int64"),
    (lambda: train(model(), BATCHES, Plan(3), every=0), "every = 0")])
def test_numbers_out_of_range_are_refused(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call()


RUN = """
import sys
from pathlib import Path
import torch
from mrpbook.images.batches import Batches
from mrpbook.images.mae import FeatureTargets
from mrpbook.images.training import Plan, processes, train
from mrpbook.images.vit import ViT

pictures = torch.randint(256, (200, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
with processes() as device:
    model = FeatureTargets(ViT((1, 8, 8), 2, 16, 2, 4), decoder_width=12, decoder_heads=3, decay=0.9).to(device)
    train(model, Batches(pictures.to(device), 16, seed=3, masks=(16, 0.75)), Plan(8), checkpoint=Path(sys.argv[1]), every=4)
"""


def test_two_processes_with_half_of_each_batch_each_end_with_the_weights_of_one(tmp_path):
    file, one = tmp_path / "run.pt", model()
    losses = train(one, BATCHES, Plan(8))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}  # by torchrun
    both = [subprocess.Popen([sys.executable, "-c", RUN, str(file)],
                             env=os.environ | told | {"RANK": str(n), "LOCAL_RANK": str(n)}) for n in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    found = torch.load(file, weights_only=True)
    torch.testing.assert_close(found["losses"], losses, rtol=1e-4, atol=1e-5)
    for name, weight in one.state_dict().items():
        torch.testing.assert_close(found["weights"][name], weight, rtol=1e-3, atol=1e-5)
    assert list(tmp_path.iterdir()) == [file]
