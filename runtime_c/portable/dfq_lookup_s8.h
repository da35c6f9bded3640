/* SPDX-License-Identifier: MIT-0 */
/* A function of each int8 element, as a table.
 *
 *   out[i] = table[x[i] + 128]
 *
 * Element by element: `out` may be `x`. Equals QLookup bit for bit.
 * Tested by tests/kernels/test_portable.py.
 */
#ifndef DFQ_LOOKUP_S8_H
#define DFQ_LOOKUP_S8_H

#include "dfq_common.h"

typedef struct {
    const DFQ_FLASH int8_t *table; /* [256] */
    int32_t elements;
} dfq_lookup_s8_t;

DFQ_KERNEL void dfq_lookup_s8(const dfq_lookup_s8_t *layer, const int8_t *x, int8_t *out)
{
    const DFQ_FLASH int8_t *middle = layer->table + 128;
    for (int32_t i = 0; i < layer->elements; i++) {
        out[i] = middle[x[i]];
    }
}

#endif
