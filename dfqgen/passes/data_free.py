"""The passes of data-free quantization (Nagel et al. 2019) on the float graph, in order."""

from __future__ import annotations

from dfqgen.ops.norm import BatchNorm
from dfqgen.passes.absorb_high_bias import absorb_high_bias
from dfqgen.passes.contract import Pass
from dfqgen.passes.doubt_batch_norm import doubt_batch_norm
from dfqgen.passes.equalize import equalize
from dfqgen.passes.fold_batch_norm import batch_norm_to_conv, fold_batch_norm
from dfqgen.passes.fold_dead_channels import fold_dead_channels
from dfqgen.passes.remove_dead_channels import remove_dead_channels
from dfqgen.passes.replace_relu6 import replace_relu6

FOLD_DEAD = Pass("fold dead channels", fold_dead_channels, without=(BatchNorm,))
REMOVE_DEAD = Pass("remove dead channels", remove_dead_channels, without=(BatchNorm,))
REPLACE_RELU6 = Pass("ReLU6 to ReLU", replace_relu6)
EQUALIZE = Pass("cross-layer equalization", equalize, without=(BatchNorm,))
ABSORB = Pass("high-bias absorption", absorb_high_bias, without=(BatchNorm,))

DATA_FREE_PASSES: tuple[Pass, ...] = (
    Pass("fold batch normalization", fold_batch_norm),
    Pass("batch normalization alone to convolutions", batch_norm_to_conv),
    Pass("doubt batch normalization", doubt_batch_norm, without=(BatchNorm,)),
    FOLD_DEAD,
    REMOVE_DEAD,
    REPLACE_RELU6,
    EQUALIZE,
    ABSORB,
)


def data_free_passes(
    *, fold_dead: bool, equalization: bool, relu6_replaced: bool, bias_absorbed: bool
) -> tuple[Pass, ...]:
    """Those of DATA_FREE_PASSES that are wanted. ReLU6 is replaced for equalization's sake only."""
    wanted = {
        FOLD_DEAD: fold_dead,
        REMOVE_DEAD: fold_dead,
        REPLACE_RELU6: equalization and relu6_replaced,
        EQUALIZE: equalization,
        ABSORB: bias_absorbed,
    }
    return tuple(step for step in DATA_FREE_PASSES if wanted.get(step, True))
