/* SPDX-License-Identifier: MIT-0 */
/* Two int8 tensors element by element, where one may repeat along axes: product, sum, larger, smaller.
 *
 *   out [size[0]] ... [size[3]]; a and b are read at i * pitch[0] + ... + l * pitch[3], each with its
 *   own pitches, in elements; 0 repeats
 *
 * The compiler has merged axes. `out` may be an operand that does not repeat. Equal QMul, QBroadcastAdd and
 * QMaximum bit for bit.
 * Tested by tests/kernels/test_portable_more.py.
 */
#ifndef DFQ_BROADCAST_S8_H
#define DFQ_BROADCAST_S8_H

#include "dfq_common.h"

typedef struct {
    int32_t size[4], pitch_a[4], pitch_b[4];
} dfq_broadcast_t;

/* How many lines (all axes but the last) there are. */
DFQ_INLINE int32_t dfq_broadcast_lines(const dfq_broadcast_t *shape)
{
    return shape->size[0] * shape->size[1] * shape->size[2];
}

/* Where line `index` starts in an operand. */
DFQ_INLINE int32_t dfq_broadcast_line(const dfq_broadcast_t *shape, const int32_t *pitch, int32_t index)
{
    const int32_t k = index % shape->size[2];
    const int32_t j = index / shape->size[2] % shape->size[1];
    const int32_t i = index / (shape->size[2] * shape->size[1]);
    return i * pitch[0] + j * pitch[1] + k * pitch[2];
}

/* clamp(zero_point + (((a - zero_a) * (b - zero_b) * multiplier + 2^(shift - 1)) >> shift), lo, hi); the
 * multiplier has 15 bits, so that nothing leaves 32. */
typedef struct {
    dfq_broadcast_t shape;
    int32_t zero_a, zero_b, multiplier, shift, zero_point, lo, hi;
} dfq_multiply_s8_t;

DFQ_KERNEL void dfq_multiply_s8(const dfq_multiply_s8_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    const dfq_broadcast_t *shape = &layer->shape;
    const int32_t half = (int32_t)1 << (layer->shift - 1);
    for (int32_t line = 0; line < dfq_broadcast_lines(shape); line++) {
        const int8_t *left = a + dfq_broadcast_line(shape, shape->pitch_a, line);
        const int8_t *right = b + dfq_broadcast_line(shape, shape->pitch_b, line);
        for (int32_t l = 0; l < shape->size[3]; l++) {
            const int32_t product = (*left - layer->zero_a) * (*right - layer->zero_b) * layer->multiplier;
            const int32_t q = layer->zero_point + dfq_shift_right(product + half, layer->shift);
            *out++ = (int8_t)dfq_clamp(q, layer->lo, layer->hi);
            left += shape->pitch_a[3];
            right += shape->pitch_b[3];
        }
    }
}

/* clamp((a * multiplier_a + b * multiplier_b + offset) >> shift, lo, hi) */
typedef struct {
    dfq_broadcast_t shape;
    int32_t multiplier_a, multiplier_b, offset, shift, lo, hi;
} dfq_broadcast_add_s8_t;

DFQ_KERNEL void dfq_broadcast_add_s8(const dfq_broadcast_add_s8_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    const dfq_broadcast_t *shape = &layer->shape;
    for (int32_t line = 0; line < dfq_broadcast_lines(shape); line++) {
        const int8_t *left = a + dfq_broadcast_line(shape, shape->pitch_a, line);
        const int8_t *right = b + dfq_broadcast_line(shape, shape->pitch_b, line);
        for (int32_t l = 0; l < shape->size[3]; l++) {
            const int32_t sum = *left * layer->multiplier_a + *right * layer->multiplier_b + layer->offset;
            *out++ = (int8_t)dfq_clamp(dfq_shift_right(sum, layer->shift), layer->lo, layer->hi);
            left += shape->pitch_a[3];
            right += shape->pitch_b[3];
        }
    }
}

/* clamp(max(a * multiplier_a + offset_a, b * multiplier_b + offset_b) >> shift, lo, hi), or min */
typedef struct {
    dfq_broadcast_t shape;
    int32_t multiplier_a, multiplier_b, offset_a, offset_b, shift, lo, hi;
    int32_t minimum; /* 0 or 1 */
} dfq_maximum_s8_t;

DFQ_KERNEL void dfq_maximum_s8(const dfq_maximum_s8_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    const dfq_broadcast_t *shape = &layer->shape;
    for (int32_t line = 0; line < dfq_broadcast_lines(shape); line++) {
        const int8_t *left = a + dfq_broadcast_line(shape, shape->pitch_a, line);
        const int8_t *right = b + dfq_broadcast_line(shape, shape->pitch_b, line);
        for (int32_t l = 0; l < shape->size[3]; l++) {
            const int32_t p = *left * layer->multiplier_a + layer->offset_a;
            const int32_t q = *right * layer->multiplier_b + layer->offset_b;
            const int32_t chosen = layer->minimum != 0 ? dfq_min(p, q) : dfq_max(p, q);
            *out++ = (int8_t)dfq_clamp(dfq_shift_right(chosen, layer->shift), layer->lo, layer->hi);
            left += shape->pitch_a[3];
            right += shape->pitch_b[3];
        }
    }
}

#endif
