"""A small convolutional encoder, and masked reconstruction for it.

An encoder as `vit` defines it: outputs [N, cells, width], one for each patch of the picture, features their mean. What differs
from the transformer that is given visible patches alone:

- A convolution needs every place, so hidden patches are *replaced in the input*, by a token of pixels. Nothing is saved: a
  masked picture costs what a whole one does. (Convolutions that skip hidden places exist: recalled, Tian et al. 2023, SparK;
  Woo et al. 2023, ConvNeXt V2.)
- In pretraining the encoder sees tokens, which no picture downstream shows; convolutions smear them into their neighbours, and
  group norms average over them.
- The places next to a hidden patch are told apart from the others by the token alone; no position enters anywhere.
"""
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..validation import check_integer
from .mae import MAE
from .patches import chosen, from_patches, grid, to_patches
from .vit import placed, seeded, standardised


class Residual(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))), convolutions 3 x 3: the pre-activation block (He et al. 2016), with group norm
    (Wu and He 2018): a picture's outputs do not depend on the others in its batch."""

    def __init__(self, width: int, groups: int):
        super().__init__()
        self.branch = nn.Sequential(*(part for _ in range(2) for part in (
            nn.GroupNorm(groups, width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False))))

    def forward(self, x: Float[Tensor, "N width H W"]) -> Float[Tensor, "N width H W"]:
        return x + self.branch(x)


class Convolution(nn.Module):
    """A residual network whose last stage has one place for each patch.

    shape: (C, H, W) of the pictures; patch: its total stride, a power of 2 that divides H and W; width: channels of the last
    stage; depth: residual blocks in each stage. The first stage has the pictures' resolution; from one stage to the next a
    2 x 2 convolution of stride 2 halves it and doubles the channels. groups: of every norm, a divisor of the first stage's
    channels. A last norm and ReLU. The weights depend on `seed` alone. Raises ValueError for numbers outside these ranges.
    """

    def __init__(self, shape: tuple[int, int, int] = (3, 32, 32), patch: int = 4, width: int = 128, depth: int = 1,
                 groups: int = 4, seed: int = 0):
        super().__init__()
        self.shape, self.patch, self.width = tuple(shape), patch, check_integer("width", width, 1)
        self.rows, self.columns = grid(self.shape, patch)
        check_integer("depth", depth, 1)
        if patch & (patch - 1):
            raise ValueError(f"patch = {patch}: expected a power of 2, the total stride of convolutions of stride 2")
        if width % patch or width // patch % check_integer("groups", groups, 1):
            raise ValueError(f"width = {width}: expected a multiple of patch x groups = {patch * groups}")
        widths = [width * 2**stage // patch for stage in range(patch.bit_length())]
        with seeded(seed, "encoder weights"):
            layers = [nn.Conv2d(shape[0], widths[0], 3, padding=1, bias=False)]
            for stage, channels in enumerate(widths):
                if stage:
                    layers.append(nn.Conv2d(widths[stage - 1], channels, 2, stride=2, bias=False))
                layers += [Residual(channels, groups) for _ in range(depth)]
            self.layers = nn.Sequential(*layers, nn.GroupNorm(groups, width), nn.ReLU())
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def extra_repr(self) -> str:
        return f"shape={self.shape}, patch={self.patch}"

    @property
    def cells(self) -> int:
        """P, the number of patches."""
        return self.rows * self.columns

    def forward(self, pictures: Float[Tensor, "N C H W"], visible: Int[Tensor, "N V"] | None = None,
                token: Float[Tensor, "d"] | None = None) -> Float[Tensor, "N P width"]:
        """Outputs of all patches, row by row. With `visible` and `token` [C patch^2], the pixels of a patch in the range of
        `vit.standardised`, the token stands in place of every other patch: nothing is computed from those.
        """
        if pictures.shape[1:] != self.shape:
            raise ValueError(f"pictures {tuple(pictures.shape)}: expected [N, {', '.join(map(str, self.shape))}]")
        if (visible is None) != (token is None):
            raise ValueError("visible and token: expected both or neither; a convolution needs something at hidden places")
        x = standardised(pictures)
        if visible is not None:
            x = from_patches(placed(chosen(to_patches(x, self.patch), visible), visible, token, self.cells), self.shape,
                             self.patch)
        return self.layers(x).flatten(2).transpose(1, 2)


class MaskedConvolution(nn.Module):
    """Masked reconstruction with a convolutional encoder: (pictures, visible, hidden) -> loss, as `mae.MAE`.

    The targets, the error and `reconstruct` are those of MAE. Hidden patches are replaced by a learned token in the input, at
    first mid-grey, and the decoder is a linear layer from the outputs at a hidden place to its pixels (as Xie et al. 2022,
    SimMIM, recalled; the paper's theory has a linear decoder too). normalise: see MAE. The decoder depends on `seed` alone.
    """

    # a subclass would make the transformer that decodes for a ViT
    targets, forward, reconstruct, _scale = MAE.targets, MAE.forward, MAE.reconstruct, MAE._scale

    def __init__(self, encoder: Convolution, *, normalise: bool = True, seed: int = 0):
        super().__init__()
        self.encoder, self.normalise = encoder, normalise
        out = encoder.shape[0] * encoder.patch**2
        with seeded(seed, "decoder weights"):
            self.decoder = nn.Linear(encoder.width, out)
        self.token = nn.Parameter(torch.zeros(out))

    def predict(self, pictures: Float[Tensor, "N C H W"], visible: Int[Tensor, "N V"], hidden: Int[Tensor, "N Q"]
                ) -> Float[Tensor, "N Q d"]:
        """Predictions for the hidden patches, from the visible ones alone."""
        return self.decoder(chosen(self.encoder(pictures, visible, self.token), hidden))
