/* SPDX-License-Identifier: MIT-0 */
/* Leaky ReLU of int8 whose slope differs by channel.
 *
 *   x, out  [pixels][channels]
 *   d = x - in_zero_point
 *   out = clamp(zero_point + ((d * (d < 0 ? slopes[c] : multiplier) + 2^(shift - 1)) >> shift), lo, hi)
 *
 * Element by element: `out` may be `x`. Equals QPRelu bit for bit.
 * Tested by tests/kernels/test_portable_more.py.
 */
#ifndef DFQ_PRELU_S8_H
#define DFQ_PRELU_S8_H

#include "dfq_common.h"

typedef struct {
    const DFQ_FLASH int16_t *slopes; /* [channels] */
    int32_t pixels, channels;
    int32_t in_zero_point, multiplier, shift, zero_point, lo, hi;
} dfq_prelu_s8_t;

DFQ_KERNEL void dfq_prelu_s8(const dfq_prelu_s8_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t half = (int32_t)1 << (layer->shift - 1);
    for (int32_t i = 0; i < layer->pixels; i++) {
        for (int32_t c = 0; c < layer->channels; c++) {
            const int32_t d = *x++ - layer->in_zero_point;
            const int32_t product = d * (d < 0 ? layer->slopes[c] : layer->multiplier) + half;
            const int32_t q = layer->zero_point + dfq_shift_right(product, layer->shift);
            *out++ = (int8_t)dfq_clamp(q, layer->lo, layer->hi);
        }
    }
}

#endif
