/* SPDX-License-Identifier: MIT-0 */
/* Softmax of int8 logits over one axis.
 *
 *   x, out  [outer][size][inner], softmax over the middle axis
 *   e       = table[max - x], table[i] = round(2^bits * exp(-scale * i))
 *   out     = min(255, (256 * e + sum / 2) / sum) - 128        (scale 1/256, zero point -128)
 *
 * The table is made so that 256 * e and the sum of a lane fit 32 bits without sign. `out` may be `x`.
 * Equals QSoftmax bit for bit.
 * Tested by tests/kernels/test_portable.py.
 */
#ifndef DFQ_SOFTMAX_S8_H
#define DFQ_SOFTMAX_S8_H

#include "dfq_common.h"

typedef struct {
    const DFQ_FLASH int32_t *table; /* [256] */
    int32_t outer, size, inner;
} dfq_softmax_s8_t;

DFQ_KERNEL void dfq_softmax_s8(const dfq_softmax_s8_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t inner = layer->inner;
    for (int32_t i = 0; i < layer->outer * inner; i++) {
        const int32_t lane = i / inner * layer->size * inner + i % inner;
        int32_t largest = INT8_MIN;
        DFQ_UNROLL(1)
        for (int32_t k = 0; k < layer->size; k++) {
            largest = dfq_max(largest, x[lane + k * inner]);
        }
        uint32_t sum = 0;
        DFQ_UNROLL(1)
        for (int32_t k = 0; k < layer->size; k++) {
            sum += (uint32_t)layer->table[largest - x[lane + k * inner]];
        }
        DFQ_UNROLL(1)
        for (int32_t k = 0; k < layer->size; k++) {
            const uint32_t e = (uint32_t)layer->table[largest - x[lane + k * inner]];
            const uint32_t q = (256u * e + sum / 2u) / sum;
            out[lane + k * inner] = (int8_t)((int32_t)(q < 255u ? q : 255u) - 128);
        }
    }
}

#endif
