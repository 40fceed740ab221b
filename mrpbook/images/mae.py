"""What pretraining minimises: hidden pixels, or a teacher's features.

Both are modules (pictures, visible, hidden) -> loss that hold the encoder as `encoder`: what `training.train` takes.
"""
import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ..validation import check_integer, check_real
from .patches import chosen, from_patches, to_patches
from .vit import Decoder, ViT, seeded


class MaskedPrediction(nn.Module):
    """Encoder, decoder, and what the encoder is given: the visible patches alone, or also a token in place of each hidden one.

    encoder: the module itself is trained; out: numbers to predict per patch; in_place: with tokens, the dearer way, for
    comparison. decoder_*: see Decoder.
    """

    def __init__(self, encoder: ViT, out: int, *, in_place: bool = False, decoder_width: int = 96, decoder_depth: int = 1,
                 decoder_heads: int = 3, seed: int = 0):
        super().__init__()
        self.encoder = encoder
        self.decoder = Decoder(encoder, out, decoder_width, decoder_depth, decoder_heads, seed)
        self.token = None
        if in_place:
            self.decoder.token.requires_grad_(False)  # not used
            with seeded(seed, "encoder token"):
                self.token = nn.Parameter(0.02 * torch.randn(encoder.width))

    def predict(self, pictures: Float[Tensor, "N C H W"], visible: Int[Tensor, "N V"], hidden: Int[Tensor, "N Q"]
                ) -> Float[Tensor, "N Q out"]:
        """Predictions for the hidden patches, from the visible ones alone."""
        return self.decoder(self.encoder(pictures, visible, self.token), visible, hidden)

    def targets(self, pictures: Float[Tensor, "N C H W"]) -> Float[Tensor, "N P out"]:
        """What is to be predicted for each patch; no gradient passes through it."""
        raise TypeError("MaskedPrediction has no targets: use MAE or FeatureTargets")

    def forward(self, pictures: Float[Tensor, "N C H W"], visible: Int[Tensor, "N V"], hidden: Int[Tensor, "N Q"]
                ) -> Float[Tensor, ""]:
        """Mean squared error over pictures, hidden patches and numbers of a patch; visible patches do not count."""
        predicted = self.predict(pictures, visible, hidden)
        return functional.mse_loss(predicted.float(), chosen(self.targets(pictures), hidden))


class MAE(MaskedPrediction):
    """Masked autoencoder of He et al. 2022: predict the pixels of the hidden patches.

    normalise: each target patch has its mean taken off and is divided by its standard deviation, (x - m) / sqrt(s^2 + 1e-6)
    with the unbiased variance s^2, as in their code; a patch of one colour has target 0. Raises ValueError for patches of one
    number, which have no deviation.
    """

    def __init__(self, encoder: ViT, *, normalise: bool = True, **options):
        numbers = encoder.shape[0] * encoder.patch**2
        if normalise and numbers < 2:
            raise ValueError("normalise = True: a patch is one number, which has no deviation; expected normalise = False or a "
                             "larger patch")
        super().__init__(encoder, numbers, **options)
        self.normalise = normalise

    def extra_repr(self) -> str:
        return f"normalise={self.normalise}"

    def targets(self, pictures: Float[Tensor, "N C H W"]) -> Float[Tensor, "N P d"]:
        patches = to_patches(pictures, self.encoder.patch)
        mean, scale = self._scale(patches)
        return (patches - mean) / scale

    def _scale(self, patches):
        if not self.normalise:
            return torch.zeros_like(patches[..., :1]), torch.ones_like(patches[..., :1])
        return patches.mean(2, keepdim=True), (patches.var(2, keepdim=True) + 1e-6).sqrt()

    @torch.no_grad()
    def reconstruct(self, pictures: Float[Tensor, "N C H W"], visible: Int[Tensor, "N V"], hidden: Int[Tensor, "N Q"]
                    ) -> Float[Tensor, "N C H W"]:
        """The pictures with predictions in the hidden patches. With `normalise` these are given the true mean and standard
        deviation of each patch, which the model does not predict: for the eye, not for a score."""
        patches = to_patches(pictures, self.encoder.patch)
        mean, scale = (chosen(x, hidden) for x in self._scale(patches))
        shown = self.predict(pictures, visible, hidden) * scale + mean
        patches = patches.scatter(1, hidden[..., None].expand_as(shown), shown)
        return from_patches(patches, self.encoder.shape, self.encoder.patch)


class FeatureTargets(MaskedPrediction):
    """Features of a slow copy of the encoder as targets, in the manner of data2vec (Baevski et al. 2022).

    The teacher sees the whole picture. The target of a patch is the mean of the outputs of the teacher's last `top` blocks,
    each output first normalised over its numbers (a layer norm without parameters). After every step
        teacher <- decay teacher + (1 - decay) encoder.
    Differences from data2vec for pictures, by its published code: a decoder predicts, and the encoder need not run over
    hidden patches (both as in MAE); masks are uniform, not in blocks; the outputs averaged are those of whole blocks (there
    an option; usually of their second half); the error is squared (there an option beside smoothed L1); `decay` is constant.

    The counterpart of `mrpbook.objectives.NormalisedTeacher`. Alike: the target is the answer of a copy of the network to the
    unmasked sample, no gradient passes through it, and a normalisation gives it a size that does not depend on the size of
    the weights, so that chasing it neither shrinks them to nothing nor blows them up. Not alike: that teacher is the student
    at this moment (here decay = 0); its target is the answer pooled over the sample (here one per hidden patch); its decoder
    is fixed, 1/theta (here trained); and it divides each unit by its root mean square over the *data*, so that no unit falls
    silent, while here the numbers of one patch are normalised against each other, which does not forbid targets that are
    alike in all pictures. `spread` tells whether that happens.

    decay: in [0, 1]. top: 1 to the depth of the encoder, None for all its blocks. ValueError otherwise.
    """

    def __init__(self, encoder: ViT, *, decay: float = 0.996, top: int | None = None, **options):
        super().__init__(encoder, encoder.width, **options)
        self.decay = check_real("decay", decay, 0, 1)
        self.top = len(encoder.blocks) if top is None else check_integer("top", top, 1)
        if self.top > len(encoder.blocks):
            raise ValueError(f"top = {top}: expected at most {len(encoder.blocks)}, the number of blocks")
        self.teacher = copy.deepcopy(encoder).requires_grad_(False)

    def extra_repr(self) -> str:
        return f"decay={self.decay}, top={self.top}"

    @torch.no_grad()
    def targets(self, pictures: Float[Tensor, "N C H W"]) -> Float[Tensor, "N P width"]:
        outputs = self.teacher.layers(pictures)[-self.top:]
        return sum(functional.layer_norm(x.float(), x.shape[2:]) for x in outputs) / self.top

    @torch.no_grad()
    def after_step(self) -> None:
        """teacher <- decay teacher + (1 - decay) encoder, for every weight."""
        teacher, student = list(self.teacher.parameters()), list(self.encoder.parameters())
        torch._foreach_lerp_(teacher, student, 1 - self.decay)

    def spread(self, pictures: Float[Tensor, "N C H W"]) -> Float[Tensor, ""]:
        """Standard deviation of a target's numbers over pictures, at the same place: 0 = collapsed (as data2vec's monitor)."""
        return self.targets(pictures).std(0).mean()
