/* SPDX-License-Identifier: MIT-0 */
/* A constant border around an int8 tensor of four axes (the compiler merges axes without padding).
 *
 *   x    [size[0]] ... [size[3]]
 *   out  [before[0] + size[0] + after[0]] ...
 *
 * Written in order, so `out` may overlap what was read. Equals QPad bit for bit.
 * Tested by tests/kernels/test_portable.py.
 */
#ifndef DFQ_PAD_X8_H
#define DFQ_PAD_X8_H

#include "dfq_common.h"

typedef struct {
    int32_t size[4], before[4], after[4];
    int32_t value;
} dfq_pad_x8_t;

/* Fill and step over the border. */
DFQ_INLINE int8_t *dfq_pad_border(const dfq_pad_x8_t *layer, int8_t *out, int32_t count)
{
    dfq_fill(out, layer->value, count);
    return out + count;
}

DFQ_KERNEL void dfq_pad_x8(const dfq_pad_x8_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t *size = layer->size, *before = layer->before, *after = layer->after;
    const int32_t line = before[3] + size[3] + after[3];
    const int32_t plane = (before[2] + size[2] + after[2]) * line;
    const int32_t volume = (before[1] + size[1] + after[1]) * plane;

    out = dfq_pad_border(layer, out, before[0] * volume);
    for (int32_t i = 0; i < size[0]; i++) {
        out = dfq_pad_border(layer, out, before[1] * plane);
        for (int32_t j = 0; j < size[1]; j++) {
            out = dfq_pad_border(layer, out, before[2] * line);
            for (int32_t k = 0; k < size[2]; k++) {
                out = dfq_pad_border(layer, out, before[3]);
                dfq_copy(out, x, size[3]);
                x += size[3];
                out = dfq_pad_border(layer, out + size[3], after[3]);
            }
            out = dfq_pad_border(layer, out, after[2] * line);
        }
        out = dfq_pad_border(layer, out, after[1] * plane);
    }
    dfq_pad_border(layer, out, after[0] * volume);
}

#endif
