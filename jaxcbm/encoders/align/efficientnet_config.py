"""Sizes of an EfficientNet: a table of stages, scaled in width and in depth."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, get_type_hints

from jaxcbm.encoders.checkpoint.hf_config import require_rgb
from jaxcbm.encoders.json_file import Pixels, Size
from jaxcbm.encoders.nn.layers import check_activation
from jaxcbm.encoders.nn.tower_config import Eps
from jaxcbm.errors import UserError
from jaxcbm.typed_json import Range, Whole, value_from_json

# B7, the largest, has 2560 channels and widths 2.0 times B0's.
Small = Annotated[int, Range(1, 2**14)]
Scale = Annotated[float, Range(0, 100, above=True)]

_STAGES = (
    "kernel_sizes",
    "in_channels",
    "out_channels",
    "strides",
    "num_block_repeats",
    "expand_ratios",
)


class BlockShape(NamedTuple):
    """One inverted bottleneck: `inputs` -> `hidden` channels, depthwise, -> `outputs`.

    Attributes:
        inputs, hidden, outputs: channels; no expansion where `hidden` is `inputs`.
        expand: there is an expansion, whatever the widths.
        squeeze: channels of the squeeze-and-excitation between its two layers.
        kernel: edge of the depthwise kernel.
        stride: 1 or 2.
        padding: zeros before and after each edge.
        residual: the input is added to the output.
    """

    inputs: int
    hidden: int
    outputs: int
    expand: bool
    squeeze: int
    kernel: int
    stride: int
    padding: tuple[int, int]
    residual: bool


@dataclass(frozen=True, kw_only=True)
class EfficientNetConfig:
    """The keys of Hugging Face's `vision_config` under their own names; tuples: one entry a stage.

    `hidden_dim` is the edge of the last pooling window there. It is never below the edge of the
    last map, so that the window is the whole map.
    """

    image_size: Pixels
    width_coefficient: Scale
    depth_coefficient: Scale
    depth_divisor: Small
    kernel_sizes: tuple[Small, ...]
    in_channels: tuple[Small, ...]
    out_channels: tuple[Small, ...]
    depthwise_padding: tuple[Whole, ...]
    strides: tuple[Small, ...]
    num_block_repeats: tuple[Small, ...]
    expand_ratios: tuple[Small, ...]
    squeeze_expansion_ratio: Scale
    hidden_act: str
    hidden_dim: Size
    pooling_type: str
    batch_norm_eps: Eps

    def __post_init__(self):
        if len({len(getattr(self, name)) for name in _STAGES}) != 1 or not self.strides:
            counts = ", ".join(f"{name} {len(getattr(self, name))}" for name in _STAGES)
            raise UserError(f"config.json: these must have one entry a stage: {counts}")
        check_activation(self.hidden_act)
        if self.pooling_type not in ("mean", "max"):
            raise UserError(f"config.json: pooling_type {self.pooling_type!r} is not mean or max")
        if not set(self.strides) <= {1, 2} or any(k % 2 == 0 for k in self.kernel_sizes):
            raise UserError("config.json: strides must be 1 or 2, and kernel_sizes odd")

    @classmethod
    def from_hf(cls, section: Any) -> "EfficientNetConfig":
        """Read the `vision_config` of what `read_hf_config` returns.

        Raises:
            UserError: sizes that no EfficientNet can have.
        """
        require_rgb(section)
        kinds = get_type_hints(cls, include_extras=True)
        return cls(
            **{
                name: value_from_json(kind, getattr(section, name, None), "config.json", name)
                for name, kind in kinds.items()
            }
        )

    @property
    def stem_width(self) -> int:
        """Channels behind the first convolution."""
        return self._rounded(32)

    @property
    def output_width(self) -> int:
        """Channels behind the last block."""
        return self.blocks[-1].outputs

    @property
    def blocks(self) -> tuple[BlockShape, ...]:
        """Every block, first to last."""
        shapes: list[BlockShape] = []
        for i, repeats in enumerate(self.num_block_repeats):
            outputs = self._rounded(self.out_channels[i])
            for j in range(math.ceil(self.depth_coefficient * repeats)):
                inputs = outputs if j else self._rounded(self.in_channels[i])
                stride, half = (1 if j else self.strides[i]), self.kernel_sizes[i] // 2
                # A strided block counts its zeros from the far edge, as TensorFlow does for maps
                # of even size, unless the config lists it.
                far = stride == 2 and len(shapes) not in self.depthwise_padding
                shapes.append(
                    BlockShape(
                        inputs=inputs,
                        hidden=inputs * self.expand_ratios[i],
                        outputs=outputs,
                        expand=self.expand_ratios[i] != 1,
                        squeeze=max(1, int(inputs * self.squeeze_expansion_ratio)),
                        kernel=self.kernel_sizes[i],
                        stride=stride,
                        padding=(half - 1, half) if far else (half, half),
                        # Not the first of a stage, even where it keeps the shape.
                        residual=j > 0,
                    )
                )
        return tuple(shapes)

    def _rounded(self, channels: int) -> int:
        """Channels times the width coefficient, a multiple of the divisor and not 10 % less."""
        scaled, divisor = channels * self.width_coefficient, self.depth_divisor
        rounded = max(divisor, int(scaled + divisor / 2) // divisor * divisor)
        return rounded + divisor if rounded < 0.9 * scaled else rounded
