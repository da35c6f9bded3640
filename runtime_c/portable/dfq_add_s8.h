/* SPDX-License-Identifier: MIT-0 */
/* Sum of two int8 tensors of one shape, each with its own scale.
 *
 *   out[i] = clamp((a[i] * multiplier_a + b[i] * multiplier_b + offset) >> shift, lo, hi)
 *
 * offset holds all zero points and the rounding half. Element by element: `out` may be `a` or `b`.
 * Equals QAdd bit for bit.
 * Tested by tests/kernels/test_portable.py.
 */
#ifndef DFQ_ADD_S8_H
#define DFQ_ADD_S8_H

#include "dfq_common.h"

typedef struct {
    int32_t elements, channels;
    int32_t multiplier_a, multiplier_b, offset, shift;
    int32_t lo, hi;
    const DFQ_FLASH int8_t *los; /* [channels], or NULL: lo for all */
    const DFQ_FLASH int8_t *his;
} dfq_add_s8_t;

DFQ_KERNEL void dfq_add_s8(const dfq_add_s8_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    if (layer->los == NULL && layer->his == NULL) {
        DFQ_UNROLL(4)
        for (int32_t i = 0; i < layer->elements; i++) {
            const int32_t acc = a[i] * layer->multiplier_a + b[i] * layer->multiplier_b + layer->offset;
            out[i] = (int8_t)dfq_clamp(dfq_shift_right(acc, layer->shift), layer->lo, layer->hi);
        }
        return;
    }
    for (int32_t i = 0, c = 0; i < layer->elements; i++) {
        const int32_t acc = a[i] * layer->multiplier_a + b[i] * layer->multiplier_b + layer->offset;
        const int32_t lo = layer->los != NULL ? layer->los[c] : layer->lo;
        const int32_t hi = layer->his != NULL ? layer->his[c] : layer->hi;
        out[i] = (int8_t)dfq_clamp(dfq_shift_right(acc, layer->shift), lo, hi);
        c = c + 1 < layer->channels ? c + 1 : 0;
    }
}

#endif
