/* SPDX-License-Identifier: MIT-0 */
/* Pointwise (1x1) convolution to few channels, int8, Helium: four pixels a vector of sums.
 *
 *   x        [pixels][depth]
 *   weight   [channels][depth, in whole vectors], zeros after the last
 *   bias, multipliers  [channels]; los and his are there whenever pre_shift is not 0
 *   out      [pixels][channels]; with one channel it may overlap the pixels of `x` that are read
 *
 * Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_mve.py and, on the instructions, test_mve_qemu.py.
 */
#ifndef DFQ_POINTWISE_FEW_S8S8_MVE_H
#define DFQ_POINTWISE_FEW_S8S8_MVE_H

#include "dfq_mve.h"

typedef struct {
    dfq_mve_linear_t linear;
    int32_t pixels;
} dfq_pointwise_few_s8s8_mve_t;

/* One channel of `count` (1..4) pixels. */
DFQ_INLINE void dfq_mve_pointwise_4x1(const dfq_mve_linear_t *linear, const int8_t *x, int32_t c, int32_t count,
                                      int8_t *out)
{
    const int32_t depth = linear->depth;
    const int8_t *weight = linear->weight + c * ((depth + 15) & ~15);
#if DFQ_MVE
    /* Pixels that do not exist are the first one again. */
    const int8_t *x1 = x + (count > 1 ? depth : 0);
    const int8_t *x2 = x + (count > 2 ? 2 * depth : 0);
    const int8_t *x3 = x + (count > 3 ? 3 * depth : 0);
    int32_t a0 = 0;
    int32_t a1 = 0;
    int32_t a2 = 0;
    int32_t a3 = 0;
    int32_t k = 0;
    for (; k + 16 <= depth; k += 16) {
        const int8x16_t w = vldrbq_s8(weight + k);
        a0 = vmladavaq_s8(a0, vldrbq_s8(x + k), w);
        a1 = vmladavaq_s8(a1, vldrbq_s8(x1 + k), w);
        a2 = vmladavaq_s8(a2, vldrbq_s8(x2 + k), w);
        a3 = vmladavaq_s8(a3, vldrbq_s8(x3 + k), w);
    }
    if (k < depth) {
        const mve_pred16_t lanes = vctp8q((uint32_t)(depth - k));
        const int8x16_t w = vldrbq_s8(weight + k);
        a0 = vmladavaq_s8(a0, vldrbq_z_s8(x + k, lanes), w);
        a1 = vmladavaq_s8(a1, vldrbq_z_s8(x1 + k, lanes), w);
        a2 = vmladavaq_s8(a2, vldrbq_z_s8(x2 + k, lanes), w);
        a3 = vmladavaq_s8(a3, vldrbq_z_s8(x3 + k, lanes), w);
    }
    int32x4_t sums = { a0, a1, a2, a3 };
    if (linear->pre_shift != 0) {
        sums = vshlq_r_s32(sums, linear->pre_shift);
    }
    sums = vrmulhq_s32(vaddq_n_s32(sums, linear->bias[c]), vdupq_n_s32(linear->multipliers[c]));
    sums = vaddq_n_s32(sums, linear->zero_point);
    sums = vmaxq_s32(sums, vdupq_n_s32(linear->los != NULL ? linear->los[c] : INT8_MIN));
    sums = vminq_s32(sums, vdupq_n_s32(linear->his != NULL ? linear->his[c] : INT8_MAX));
    const uint32x4_t places = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)linear->channels);
    if (count == 4) {
        vstrbq_scatter_offset_s32(out + c, places, sums);
    } else {
        vstrbq_scatter_offset_p_s32(out + c, places, sums, vctp32q((uint32_t)count));
    }
#else
    int8_t values[4] = { 0 };
    for (int32_t p = 0; p < count; p++) {
        int32_t acc = 0;
        for (int32_t k = 0; k < depth; k++) {
            acc += weight[k] * x[p * depth + k];
        }
        values[p] = dfq_mve_requantize(linear, acc, c, c);
    }
    for (int32_t p = 0; p < count; p++) {
        out[p * linear->channels + c] = values[p];
    }
#endif
}

DFQ_KERNEL void dfq_pointwise_few_s8s8_4x1_mve(const dfq_pointwise_few_s8s8_mve_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_mve_linear_t *linear = &layer->linear;
    int32_t left = layer->pixels;
    for (; left >= 4; left -= 4, x += 4 * linear->depth, out += 4 * linear->channels) {
        for (int32_t c = 0; c < linear->channels; c++) {
            dfq_mve_pointwise_4x1(linear, x, c, 4, out);
        }
    }
    for (int32_t c = 0; c < linear->channels && left > 0; c++) {
        dfq_mve_pointwise_4x1(linear, x, c, left, out);
    }
}

#endif
