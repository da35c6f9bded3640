/* SPDX-License-Identifier: MIT-0 */
/* A function of each element with int16 on at least one side.
 *
 * dfq_lookup_s16: int8 to int16, out[i] = table[x[i] + 128]; `out` may end with `x`. Equals QLookup bit for bit.
 * dfq_interpolate_s16: int16 to int8 or int16, straight lines between entries 2^fraction_bits inputs apart, the first at
 * -32768; `out` may be `x`. Equals QInterpolate bit for bit.
 * Tested by tests/kernels/test_portable.py.
 */
#ifndef DFQ_LOOKUP_S16_H
#define DFQ_LOOKUP_S16_H

#include "dfq_wide_s16.h"

typedef struct {
    const DFQ_FLASH int16_t *table; /* [256] */
    int32_t elements;
} dfq_lookup_s16_t;

DFQ_KERNEL void dfq_lookup_s16(const dfq_lookup_s16_t *layer, const int8_t *x, int8_t *out)
{
    const DFQ_FLASH int16_t *middle = layer->table + 128;
    for (int32_t i = 0; i < layer->elements; i++) {
        dfq_store(out, 1, i, middle[x[i]]);
    }
}

typedef struct {
    const DFQ_FLASH int16_t *table; /* [2^(16 - fraction_bits) + 1] */
    int32_t elements;
    int32_t fraction_bits, shift;
    int32_t out_wide;
} dfq_interpolate_s16_t;

DFQ_KERNEL void dfq_interpolate_s16(const dfq_interpolate_s16_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t spacing = (int32_t)((uint32_t)1 << layer->fraction_bits);
    const int32_t half = (int32_t)((uint32_t)1 << (layer->shift - 1));
    for (int32_t i = 0; i < layer->elements; i++) {
        const int32_t place = dfq_load(x, 1, i) + 32768;
        const DFQ_FLASH int16_t *entry = layer->table + (place >> layer->fraction_bits);
        const int32_t below = entry[0], above = entry[1];
        const int32_t line = below * spacing + (above - below) * (place & (spacing - 1));
        dfq_store(out, layer->out_wide, i, dfq_shift_right(line + half, layer->shift));
    }
}

#endif
