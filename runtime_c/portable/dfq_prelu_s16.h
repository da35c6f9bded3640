/* SPDX-License-Identifier: MIT-0 */
/* Leaky ReLU whose slope differs by channel, int8 or int16 on either side.
 *
 *   x, out  [pixels][channels]
 *   d = x - in_zero_point
 *   out = clamp(zero_point + ((d * (d < 0 ? slopes[c] : multiplier) + 2^(shift - 1)) >> shift), lo, hi)
 *
 * `out` may be `x`, or end with it where it is wider. Equals QPRelu bit for bit.
 * Tested by tests/kernels/test_portable_more.py.
 */
#ifndef DFQ_PRELU_S16_H
#define DFQ_PRELU_S16_H

#include "dfq_wide_s16.h"

typedef struct {
    const DFQ_FLASH int16_t *slopes; /* [channels] */
    int32_t pixels, channels;
    int32_t in_zero_point, multiplier, shift, zero_point, lo, hi;
    int32_t in_wide, out_wide;
} dfq_prelu_s16_t;

DFQ_KERNEL void dfq_prelu_s16(const dfq_prelu_s16_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t half = (int32_t)((uint32_t)1 << (layer->shift - 1));
    for (int32_t i = 0, place = 0; i < layer->pixels; i++) {
        for (int32_t c = 0; c < layer->channels; c++, place++) {
            const int32_t d = dfq_load(x, layer->in_wide, place) - layer->in_zero_point;
            const int32_t product = d * (d < 0 ? layer->slopes[c] : layer->multiplier) + half;
            const int32_t q = layer->zero_point + dfq_shift_right(product, layer->shift);
            dfq_store(out, layer->out_wide, place, dfq_clamp(q, layer->lo, layer->hi));
        }
    }
}

#endif
