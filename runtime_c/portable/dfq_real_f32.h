/* SPDX-License-Identifier: MIT-0 */
/* float32 network inputs and outputs.
 *
 *   x, out   [elements], one of them float, the other int8 (0), int16 (1) or int32 (2), as `..._wide` says
 *
 * dfq_quantize_f32: out = clamp(zero_point + ((floor(x * twice) + 1) >> 1), lo, hi), twice being 2 / scale; what is no
 * number becomes lo. dfq_dequantize_f32: out = (x - zero_point) as float * scale. One product each and nothing added
 * to it, so that no compiler can contract them: IEEE 754 gives the same bits everywhere.
 * `out` may be `x`, or end with it where it is wider. Equal QQuantize and QDequantize bit for bit.
 * Tested by tests/kernels/test_portable_more.py.
 */
#ifndef DFQ_REAL_F32_H
#define DFQ_REAL_F32_H

#include "dfq_wide_s16.h"

typedef float DFQ_MAY_ALIAS dfq_float_t;

typedef struct {
    int32_t elements;
    float twice;
    int32_t zero_point, lo, hi;
    int32_t out_wide;
} dfq_quantize_f32_t;

DFQ_KERNEL void dfq_quantize_f32(const dfq_quantize_f32_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_float_t *reals = (const dfq_float_t *)(const void *)x;
    const int32_t low = 2 * (layer->lo - layer->zero_point) - 2;
    const int32_t high = 2 * (layer->hi - layer->zero_point) + 2;
    for (int32_t i = 0; i < layer->elements; i++) {
        const float doubled = reals[i] * layer->twice;
        int32_t steps = low;
        if (doubled > (float)low) {
            steps = doubled < (float)high ? (int32_t)doubled : high;
            steps -= (float)steps > doubled; /* truncated towards zero: down instead */
        }
        const int32_t q = layer->zero_point + dfq_shift_right(steps + 1, 1);
        dfq_store(out, layer->out_wide, i, dfq_clamp(q, layer->lo, layer->hi));
    }
}

typedef struct {
    int32_t elements;
    float scale;
    int32_t zero_point;
    int32_t in_wide;
} dfq_dequantize_f32_t;

/* Upwards where `out` is below `x`: what is read next is not yet overwritten. */
DFQ_KERNEL void dfq_dequantize_f32(const dfq_dequantize_f32_t *layer, const int8_t *x, int8_t *out)
{
    dfq_float_t *reals = (dfq_float_t *)(void *)out;
    for (int32_t i = 0; i < layer->elements; i++) {
        const int32_t q =
            layer->in_wide == 2 ? ((const dfq_sum_t *)(const void *)x)[i] : dfq_load(x, layer->in_wide, i);
        reals[i] = (float)(q - layer->zero_point) * layer->scale;
    }
}

#endif
