/* SPDX-License-Identifier: MIT-0 */
/* Product of two int8 or int16 tensors, where one may repeat along axes, Arm DSP extension: two elements at a time.
 *
 * Arguments are those of ../portable/dfq_broadcast_s16.h, for what `out` may overlap too; an int16 operand's zero point
 * is 0. Two elements are written after both are read.
 * Equals QWideMul bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_MULTIPLY_S16_DSP_H
#define DFQ_MULTIPLY_S16_DSP_H

#include "../portable/dfq_broadcast_s16.h"
#include "dfq_dsp.h"

/* Element i, and the next or the same once more, less the zero point, as halves. */
DFQ_INLINE uint32_t dfq_dsp_factors(const int8_t *x, int32_t wide, int32_t i, int32_t pitch, int32_t zero)
{
    uint32_t pair;
    if (pitch != 0) {
        pair = dfq_dsp_pair(x, wide, i, 0);
    } else {
        const uint32_t value = (uint32_t)dfq_load(x, wide, i);
        pair = dfq_dsp_bottoms(value, value);
    }
    return zero == 0 ? pair : dfq_dsp_subtract_halves(pair, (uint16_t)zero * 65537u);
}

/* A product of halves requantized, saturated to 16 bits. */
DFQ_INLINE int32_t dfq_dsp_requantize_product(const dfq_multiply_s16_t *layer, int32_t product)
{
    if (layer->shift != 0) {
        return dfq_dsp_shift_saturate_half(product + layer->offset, layer->shift);
    }
    const int32_t shifted = product * (int32_t)((uint32_t)1 << layer->pre_shift);
    return dfq_dsp_saturate_half(dfq_dsp_scale(shifted, layer->multiplier, layer->zero_point));
}

/* Two products, clamped, as halves. */
DFQ_INLINE uint32_t dfq_dsp_multiply_pair(const dfq_multiply_s16_t *layer, uint32_t a, uint32_t b)
{
    const int32_t bottom = dfq_dsp_requantize_product(layer, dfq_dsp_mac_bb(a, b, 0));
    const int32_t top = dfq_dsp_requantize_product(layer, dfq_dsp_mac_tt(a, b, 0));
    return dfq_dsp_clamp_pair(dfq_dsp_bottoms((uint32_t)bottom, (uint32_t)top), layer->lo, layer->hi);
}

DFQ_KERNEL void dfq_multiply_s16_dsp(const dfq_multiply_s16_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    const dfq_broadcast_t *shape = &layer->shape;
    const int32_t length = shape->size[3], pitch_a = shape->pitch_a[3], pitch_b = shape->pitch_b[3];
    int32_t place = 0;
    for (int32_t line = 0; line < dfq_broadcast_lines(shape); line++) {
        int32_t left = dfq_broadcast_line(shape, shape->pitch_a, line);
        int32_t right = dfq_broadcast_line(shape, shape->pitch_b, line);
        DFQ_UNROLL(2)
        for (int32_t l = 0; l < length >> 1; l++) {
            const uint32_t p = dfq_dsp_factors(a, layer->a_wide, left, pitch_a, layer->zero_a);
            const uint32_t q = dfq_dsp_factors(b, layer->b_wide, right, pitch_b, layer->zero_b);
            dfq_dsp_store_pair(out, layer->out_wide, place, dfq_dsp_multiply_pair(layer, p, q));
            left += 2 * pitch_a;
            right += 2 * pitch_b;
            place += 2;
        }
        if (length & 1) {
            const uint32_t p = dfq_dsp_factors(a, layer->a_wide, left, 0, layer->zero_a);
            const uint32_t q = dfq_dsp_factors(b, layer->b_wide, right, 0, layer->zero_b);
            const uint32_t value = dfq_dsp_multiply_pair(layer, p, q);
            dfq_store(out, layer->out_wide, place, (int16_t)(uint16_t)value);
            place++;
        }
    }
}

#endif
