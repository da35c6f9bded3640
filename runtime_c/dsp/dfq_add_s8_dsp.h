/* SPDX-License-Identifier: MIT-0 */
/* Sum of two int8 tensors of one shape, each with its own scale, Arm DSP extension.
 *
 *   y[i] = clamp((a[i] * multiplier_a + b[i] * multiplier_b + offset) >> shift, lo, hi)
 *
 * Four elements a word, one SMLAD each. A word is written after it is read: `y` may be `a` or `b`.
 * Equals QAdd bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_ADD_S8_DSP_H
#define DFQ_ADD_S8_DSP_H

#include "dfq_dsp.h"

typedef struct {
    int32_t elements;
    int32_t multipliers; /* of a in the bottom half, of b in the top one */
    int32_t offset, shift;
    int32_t lo, hi;
} dfq_add_s8_dsp_t;

DFQ_INLINE int32_t dfq_dsp_add_element(const dfq_add_s8_dsp_t *layer, uint32_t pair)
{
    return dfq_dsp_shift_saturate(dfq_dsp_mac(pair, (uint32_t)layer->multipliers, layer->offset), layer->shift);
}

DFQ_INLINE uint32_t dfq_dsp_add_word(const dfq_add_s8_dsp_t *layer, uint32_t a, uint32_t b)
{
    const uint32_t a_even = dfq_dsp_widen_even(a);
    const uint32_t b_even = dfq_dsp_widen_even(b);
    const uint32_t a_odd = dfq_dsp_widen_odd(a);
    const uint32_t b_odd = dfq_dsp_widen_odd(b);
    const int32_t y0 = dfq_dsp_add_element(layer, dfq_dsp_bottoms(a_even, b_even));
    const int32_t y1 = dfq_dsp_add_element(layer, dfq_dsp_bottoms(a_odd, b_odd));
    const int32_t y2 = dfq_dsp_add_element(layer, dfq_dsp_tops(a_even, b_even));
    const int32_t y3 = dfq_dsp_add_element(layer, dfq_dsp_tops(a_odd, b_odd));
    uint32_t word = dfq_dsp_pack(y0, y1, y2, y3);
    if (layer->lo != INT8_MIN) {
        word = dfq_dsp_max(word, dfq_dsp_lanes(layer->lo));
    }
    if (layer->hi != INT8_MAX) {
        word = dfq_dsp_min(word, dfq_dsp_lanes(layer->hi));
    }
    return word;
}

DFQ_KERNEL void dfq_add_s8_dsp(const dfq_add_s8_dsp_t *layer, const int8_t *a, const int8_t *b, int8_t *y)
{
    const int8_t *const end = a + (layer->elements & ~3);
    DFQ_UNROLL(4)
    for (; a != end; a += 4, b += 4, y += 4) {
        dfq_dsp_store(y, dfq_dsp_add_word(layer, dfq_dsp_load(a), dfq_dsp_load(b)));
    }
    const int32_t rest = layer->elements & 3;
    if (rest != 0) {
        const uint32_t last_a = dfq_dsp_load_lanes(a, rest);
        const uint32_t last_b = dfq_dsp_load_lanes(b, rest);
        dfq_dsp_store_lanes(y, dfq_dsp_add_word(layer, last_a, last_b), rest);
    }
}

#endif
