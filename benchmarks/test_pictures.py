"""One step of a masked autoencoder, encoding visible patches only or all."""
import torch

from mrpbook.images import speed

from . import ways
from .compare import Case, Ready, Way

N = 64  # pictures


def step(way: str, options: dict) -> Ready:
    model, batch = speed.masked_steps(N, **options)[way]

    def check(loss):
        assert torch.isfinite(loss) and loss < 3  # of targets with variance 1

    return Ready(speed.step(model, batch), speed.work(model, batch), check, pictures=N)


def cases(size):
    small = {"width": 24, "depth": 1, "decoder_width": 24}
    sizes = {"width 48, depth 2": {"width": 48, "depth": 2, "decoder_width": 24}, "width 192, depth 6": {}}
    for name, options in ({"tiny": small} if size == "tiny" else sizes).items():
        found = [Way(way, lambda way=way, options=options: step(way, options), role)
                 for way, role in {"visible only": "", "in place": "base"}.items()]
        found.append(Way("a large product", ways.large_product, "peak"))
        yield Case(f"pictures, 64 patches, three quarters hidden, {name}", found,
                   rounds={"tiny": 2, "bench": 3, "full": 7}[size], calls=3)


def test_one_step(turn, timed):
    timed(turn)
