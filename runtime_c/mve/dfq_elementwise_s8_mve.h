/* SPDX-License-Identifier: MIT-0 */
/* Element by element, int8, Helium: `out` may be an input.
 *
 * Arguments are those of ../portable/dfq_add_s8.h, ../portable/dfq_broadcast_s8.h and ../portable/dfq_lookup_s8.h.
 * Equal QAdd, QMul and QLookup bit for bit.
 * Tested by tests/kernels/test_mve.py and, on the instructions, test_mve_qemu.py.
 */
#ifndef DFQ_ELEMENTWISE_S8_MVE_H
#define DFQ_ELEMENTWISE_S8_MVE_H

#include "../portable/dfq_add_s8.h"
#include "../portable/dfq_broadcast_s8.h"
#include "../portable/dfq_lookup_s8.h"
#include "dfq_mve.h"

#if DFQ_MVE

DFQ_INLINE int32x4_t dfq_mve_add_4(const dfq_add_s8_t *layer, int32x4_t a, int32x4_t b, int32x4_t multipliers_a)
{
    const int32x4_t product = vmlasq_n_s32(a, multipliers_a, layer->offset);
    const int32x4_t sum = vshlq_r_s32(vmlaq_n_s32(product, b, layer->multiplier_b), -layer->shift);
    return vminq_s32(vmaxq_s32(sum, vdupq_n_s32(layer->lo)), vdupq_n_s32(layer->hi));
}

#endif

/* Bounds are the same for all channels: los and his are NULL. */
DFQ_KERNEL void dfq_add_s8_mve(const dfq_add_s8_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
#if DFQ_MVE
    const int32x4_t multipliers_a = vdupq_n_s32(layer->multiplier_a);
    for (int32_t i = layer->elements >> 2; i > 0; i--, a += 4, b += 4, out += 4) {
        vstrbq_s32(out, dfq_mve_add_4(layer, vldrbq_s32(a), vldrbq_s32(b), multipliers_a));
    }
    if (layer->elements & 3) {
        const mve_pred16_t lanes = vctp32q((uint32_t)layer->elements & 3u);
        vstrbq_p_s32(out, dfq_mve_add_4(layer, vldrbq_z_s32(a, lanes), vldrbq_z_s32(b, lanes), multipliers_a), lanes);
    }
#else
    dfq_add_s8(layer, a, b, out);
#endif
}

#if DFQ_MVE

/* Four elements of an operand, or one that repeats. */
DFQ_INLINE int32x4_t dfq_mve_operand_4(const int8_t *from, int32_t pitch, mve_pred16_t lanes)
{
    return pitch != 0 ? vldrbq_z_s32(from, lanes) : vdupq_n_s32(*from);
}

#endif

DFQ_KERNEL void dfq_multiply_s8_mve(const dfq_multiply_s8_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
#if DFQ_MVE
    const dfq_broadcast_t *shape = &layer->shape;
    for (int32_t line = 0; line < dfq_broadcast_lines(shape); line++) {
        const int8_t *left = a + dfq_broadcast_line(shape, shape->pitch_a, line);
        const int8_t *right = b + dfq_broadcast_line(shape, shape->pitch_b, line);
        for (int32_t l = shape->size[3]; l > 0; l -= 4, out += 4) {
            const mve_pred16_t lanes = vctp32q((uint32_t)l);
            const int32x4_t p = vsubq_n_s32(dfq_mve_operand_4(left, shape->pitch_a[3], lanes), layer->zero_a);
            const int32x4_t q = vsubq_n_s32(dfq_mve_operand_4(right, shape->pitch_b[3], lanes), layer->zero_b);
            const int32x4_t product = vmulq_n_s32(vmulq_s32(p, q), layer->multiplier);
            const int32x4_t sum = vaddq_n_s32(vrshlq_n_s32(product, -layer->shift), layer->zero_point);
            const int32x4_t most = vmaxq_s32(sum, vdupq_n_s32(layer->lo));
            vstrbq_p_s32(out, vminq_s32(most, vdupq_n_s32(layer->hi)), lanes);
            left += 4 * shape->pitch_a[3];
            right += 4 * shape->pitch_b[3];
        }
        out += (shape->size[3] & 3) != 0 ? (shape->size[3] & 3) - 4 : 0;
    }
#else
    dfq_multiply_s8(layer, a, b, out);
#endif
}

DFQ_KERNEL void dfq_lookup_s8_mve(const dfq_lookup_s8_t *layer, const int8_t *x, int8_t *out)
{
#if DFQ_MVE
    const uint8x16_t middle = vdupq_n_u8(128);
    int32_t left = layer->elements;
    for (; left >= 16; left -= 16, x += 16, out += 16) {
        const uint8x16_t index = veorq_u8(vreinterpretq_u8_s8(vldrbq_s8(x)), middle);
        vstrbq_s8(out, vldrbq_gather_offset_s8(layer->table, index));
    }
    if (left > 0) {
        const mve_pred16_t lanes = vctp8q((uint32_t)left);
        const uint8x16_t index = veorq_u8(vreinterpretq_u8_s8(vldrbq_z_s8(x, lanes)), middle);
        vstrbq_p_s8(out, vldrbq_gather_offset_s8(layer->table, index), lanes);
    }
#else
    dfq_lookup_s8(layer, x, out);
#endif
}

#endif
