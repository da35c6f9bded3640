/* SPDX-License-Identifier: MIT-0 */
/* Up to eight int8 tensors of one type, one after the other along an axis.
 *
 *   out [outer][runs[0] + runs[1] + ...], tensor k is [outer][runs[k]]
 *
 * A run is the joined axis and all axes inside it. Equals QConcat bit for bit; `out` is apart from all
 * tensors.
 * Tested by tests/kernels/test_portable_more.py.
 */
#ifndef DFQ_CONCAT_X8_H
#define DFQ_CONCAT_X8_H

#include "dfq_common.h"

typedef struct {
    int32_t outer, pitch; /* pitch: the sum of all runs */
    int32_t runs[8];
} dfq_concat_x8_t;

/* Copy tensor `index` to its place in every row of `out`; gives the place of the next one. */
DFQ_INLINE int8_t *dfq_concat_part(const dfq_concat_x8_t *layer, int32_t index, const int8_t *x, int8_t *out)
{
    const int32_t run = layer->runs[index];
    for (int32_t i = 0; i < layer->outer; i++) {
        dfq_copy(out + i * layer->pitch, x + i * run, run);
    }
    return out + run;
}

DFQ_KERNEL void dfq_concat2_x8(const dfq_concat_x8_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    out = dfq_concat_part(layer, 0, a, out);
    (void)dfq_concat_part(layer, 1, b, out);
}

DFQ_KERNEL void dfq_concat3_x8(const dfq_concat_x8_t *layer, const int8_t *a, const int8_t *b, const int8_t *c,
                               int8_t *out)
{
    out = dfq_concat_part(layer, 0, a, out);
    out = dfq_concat_part(layer, 1, b, out);
    (void)dfq_concat_part(layer, 2, c, out);
}

DFQ_KERNEL void dfq_concat4_x8(const dfq_concat_x8_t *layer, const int8_t *a, const int8_t *b, const int8_t *c,
                               const int8_t *d, int8_t *out)
{
    out = dfq_concat_part(layer, 0, a, out);
    out = dfq_concat_part(layer, 1, b, out);
    out = dfq_concat_part(layer, 2, c, out);
    (void)dfq_concat_part(layer, 3, d, out);
}

DFQ_KERNEL void dfq_concat5_x8(const dfq_concat_x8_t *layer, const int8_t *a, const int8_t *b, const int8_t *c,
                               const int8_t *d, const int8_t *e, int8_t *out)
{
    out = dfq_concat_part(layer, 0, a, out);
    out = dfq_concat_part(layer, 1, b, out);
    out = dfq_concat_part(layer, 2, c, out);
    out = dfq_concat_part(layer, 3, d, out);
    (void)dfq_concat_part(layer, 4, e, out);
}

DFQ_KERNEL void dfq_concat6_x8(const dfq_concat_x8_t *layer, const int8_t *a, const int8_t *b, const int8_t *c,
                               const int8_t *d, const int8_t *e, const int8_t *f, int8_t *out)
{
    out = dfq_concat_part(layer, 0, a, out);
    out = dfq_concat_part(layer, 1, b, out);
    out = dfq_concat_part(layer, 2, c, out);
    out = dfq_concat_part(layer, 3, d, out);
    out = dfq_concat_part(layer, 4, e, out);
    (void)dfq_concat_part(layer, 5, f, out);
}

DFQ_KERNEL void dfq_concat7_x8(const dfq_concat_x8_t *layer, const int8_t *a, const int8_t *b, const int8_t *c,
                               const int8_t *d, const int8_t *e, const int8_t *f, const int8_t *g, int8_t *out)
{
    out = dfq_concat_part(layer, 0, a, out);
    out = dfq_concat_part(layer, 1, b, out);
    out = dfq_concat_part(layer, 2, c, out);
    out = dfq_concat_part(layer, 3, d, out);
    out = dfq_concat_part(layer, 4, e, out);
    out = dfq_concat_part(layer, 5, f, out);
    (void)dfq_concat_part(layer, 6, g, out);
}

DFQ_KERNEL void dfq_concat8_x8(const dfq_concat_x8_t *layer, const int8_t *a, const int8_t *b, const int8_t *c,
                               const int8_t *d, const int8_t *e, const int8_t *f, const int8_t *g, const int8_t *h,
                               int8_t *out)
{
    out = dfq_concat_part(layer, 0, a, out);
    out = dfq_concat_part(layer, 1, b, out);
    out = dfq_concat_part(layer, 2, c, out);
    out = dfq_concat_part(layer, 3, d, out);
    out = dfq_concat_part(layer, 4, e, out);
    out = dfq_concat_part(layer, 5, f, out);
    out = dfq_concat_part(layer, 6, g, out);
    (void)dfq_concat_part(layer, 7, h, out);
}

#endif
