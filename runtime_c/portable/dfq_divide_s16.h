/* SPDX-License-Identifier: MIT-0 */
/* Quotient of two tensors, int8 or int16 each, where one may repeat along axes.
 *
 * Shapes and pitches are as in dfq_broadcast_s8.h:
 *
 *   out [size[0]] ... [size[3]]; a and b are read each with its own pitches, 0 repeats
 *
 * |a - zero_a| * multiplier over |b - zero_b|, rounded, then shifted right, rounded; with the sign of the quotient. A
 * quotient by zero is the largest of its sign. The compiler has proved that the numerator fits 32 bits. `out` may be an
 * operand of its type that does not repeat. Equals QDiv bit for bit.
 * Tested by tests/kernels/test_attention.py.
 */
#ifndef DFQ_DIVIDE_S16_H
#define DFQ_DIVIDE_S16_H

#include "dfq_broadcast_s8.h"
#include "dfq_wide_s16.h"

typedef struct {
    dfq_broadcast_t shape;
    int32_t zero_a, zero_b, multiplier, shift, zero_point, lo, hi;
    int32_t a_wide, b_wide, out_wide;
} dfq_divide_s16_t;

DFQ_PART int32_t dfq_quotient(const dfq_divide_s16_t *layer, int32_t a, int32_t b)
{
    if (b == 0) {
        return a > 0 ? layer->hi : a < 0 ? layer->lo : layer->zero_point;
    }
    const uint32_t numerator = (uint32_t)(a < 0 ? -a : a) * (uint32_t)layer->multiplier;
    const uint32_t denominator = (uint32_t)(b < 0 ? -b : b);
    const uint32_t rounding = UINT32_C(1) << layer->shift >> 1;
    const int32_t size = (int32_t)(((numerator + denominator / 2u) / denominator + rounding) >> layer->shift);
    return layer->zero_point + ((a < 0) != (b < 0) ? -size : size);
}

DFQ_KERNEL void dfq_divide_s16(const dfq_divide_s16_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    const dfq_broadcast_t *shape = &layer->shape;
    int32_t i = 0;
    for (int32_t line = 0; line < dfq_broadcast_lines(shape); line++) {
        int32_t left = dfq_broadcast_line(shape, shape->pitch_a, line);
        int32_t right = dfq_broadcast_line(shape, shape->pitch_b, line);
        for (int32_t l = 0; l < shape->size[3]; l++, i++) {
            const int32_t first = dfq_load(a, layer->a_wide, left) - layer->zero_a;
            const int32_t second = dfq_load(b, layer->b_wide, right) - layer->zero_b;
            const int32_t value = dfq_clamp(dfq_quotient(layer, first, second), layer->lo, layer->hi);
            dfq_store(out, layer->out_wide, i, value);
            left += shape->pitch_a[3];
            right += shape->pitch_b[3];
        }
    }
}

#endif
