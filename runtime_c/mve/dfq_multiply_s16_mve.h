/* SPDX-License-Identifier: MIT-0 */
/* Product of two int8 or int16 tensors, where one may repeat along axes, on Helium: four elements at a time.
 *
 * Arguments are those of ../portable/dfq_broadcast_s16.h, for what `out` may overlap too.
 * Equals QWideMul bit for bit.
 * Tested by tests/kernels/test_mve.py and, on the instructions, test_mve_qemu.py.
 */
#ifndef DFQ_MULTIPLY_S16_MVE_H
#define DFQ_MULTIPLY_S16_MVE_H

#include "../portable/dfq_broadcast_s16.h"
#include "dfq_mve.h"

#if DFQ_MVE

/* Four elements from i on, or one that repeats, less the zero point. */
DFQ_INLINE int32x4_t dfq_mve_factors_4(const int8_t *x, int32_t wide, int32_t i, int32_t pitch, int32_t zero,
                                       mve_pred16_t lanes)
{
    if (pitch == 0) {
        return vdupq_n_s32(dfq_load(x, wide, i) - zero);
    }
    const int32x4_t value =
        wide ? vldrhq_z_s32((const dfq_half_t *)(const void *)x + i, lanes) : vldrbq_z_s32(x + i, lanes);
    return vsubq_n_s32(value, zero);
}

/* Products requantized and clamped. */
DFQ_INLINE int32x4_t dfq_mve_requantize_products(const dfq_multiply_s16_t *layer, int32x4_t product)
{
    int32x4_t value;
    if (layer->shift != 0) {
        value = vshlq_r_s32(vaddq_n_s32(product, layer->offset), -layer->shift);
    } else {
        const int32x4_t shifted = vshlq_r_s32(product, layer->pre_shift);
        value = vaddq_n_s32(vrmulhq_s32(shifted, vdupq_n_s32(layer->multiplier)), layer->zero_point);
    }
    return vminq_s32(vmaxq_s32(value, vdupq_n_s32(layer->lo)), vdupq_n_s32(layer->hi));
}

#endif

DFQ_KERNEL void dfq_multiply_s16_mve(const dfq_multiply_s16_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
#if DFQ_MVE
    const dfq_broadcast_t *shape = &layer->shape;
    const int32_t length = shape->size[3], pitch_a = shape->pitch_a[3], pitch_b = shape->pitch_b[3];
    for (int32_t line = 0; line < dfq_broadcast_lines(shape); line++) {
        const int32_t left = dfq_broadcast_line(shape, shape->pitch_a, line);
        const int32_t right = dfq_broadcast_line(shape, shape->pitch_b, line);
        for (int32_t l = 0; l < length; l += 4) {
            const mve_pred16_t lanes = vctp32q((uint32_t)(length - l));
            const int32x4_t p = dfq_mve_factors_4(a, layer->a_wide, left + l * pitch_a, pitch_a, layer->zero_a, lanes);
            const int32x4_t q = dfq_mve_factors_4(b, layer->b_wide, right + l * pitch_b, pitch_b, layer->zero_b, lanes);
            const int32x4_t value = dfq_mve_requantize_products(layer, vmulq_s32(p, q));
            const int32_t place = line * length + l;
            if (layer->out_wide) {
                vstrhq_p_s32((dfq_half_t *)(void *)out + place, value, lanes);
            } else {
                vstrbq_p_s32(out + place, value, lanes);
            }
        }
    }
#else
    dfq_multiply_s16(layer, a, b, out);
#endif
}

#endif
