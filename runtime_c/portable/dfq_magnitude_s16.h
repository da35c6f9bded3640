/* SPDX-License-Identifier: MIT-0 */
/* Magnitude of complex numbers whose parts are two tensors, int8 or int16 each, where one may repeat along axes.
 *
 *   out [size[0]] ... [size[3]], int8 or int16; a and b as in dfq_broadcast_s8.h
 *
 * Both parts come to one scale in 16 bits, so that the sum of their squares fits 32 without a sign, as the compiler has
 * proved. `out` may be an operand of its shape and type, or end with it where it is wider.
 * Equals QMagnitude bit for bit.
 * Tested by tests/kernels/test_attention.py.
 */
#ifndef DFQ_MAGNITUDE_S16_H
#define DFQ_MAGNITUDE_S16_H

#include "dfq_broadcast_s8.h"
#include "dfq_wide_s16.h"

/* clamp(zero_point + ((root * multiplier + half) >> shift), lo, hi) with parts
 * (|x - zero_x| * multiplier_x + half) >> part_shift */
typedef struct {
    dfq_broadcast_t shape;
    int32_t zero_a, zero_b, multiplier_a, multiplier_b, part_shift, multiplier, shift, zero_point, lo, hi;
    int32_t a_wide, b_wide, out_wide;
} dfq_magnitude_s16_t;

/* The integer nearest to the square root, digit by digit; what is left over at the end is value - root^2. */
DFQ_PART uint32_t dfq_nearest_square_root(uint32_t value)
{
    uint32_t root = 0;
    for (uint32_t bit = UINT32_C(1) << 30; bit != 0u; bit >>= 2) {
        const uint32_t tried = root + bit;
        root >>= 1;
        if (value >= tried) {
            value -= tried;
            root += bit;
        }
    }
    return value > root ? root + 1u : root;
}

DFQ_INLINE uint32_t dfq_magnitude_part(int32_t distance, int32_t multiplier, int32_t shift)
{
    const uint32_t size = (uint32_t)(distance < 0 ? -distance : distance) * (uint32_t)multiplier;
    return (size + (UINT32_C(1) << shift >> 1)) >> shift;
}

DFQ_KERNEL void dfq_magnitude_s16(const dfq_magnitude_s16_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    const dfq_broadcast_t *shape = &layer->shape;
    const uint32_t half = UINT32_C(1) << layer->shift >> 1;
    int32_t place = 0;
    for (int32_t line = 0; line < dfq_broadcast_lines(shape); line++) {
        int32_t left = dfq_broadcast_line(shape, shape->pitch_a, line);
        int32_t right = dfq_broadcast_line(shape, shape->pitch_b, line);
        for (int32_t l = 0; l < shape->size[3]; l++, place++) {
            const int32_t p = dfq_load(a, layer->a_wide, left) - layer->zero_a;
            const int32_t q = dfq_load(b, layer->b_wide, right) - layer->zero_b;
            const uint32_t first = dfq_magnitude_part(p, layer->multiplier_a, layer->part_shift);
            const uint32_t second = dfq_magnitude_part(q, layer->multiplier_b, layer->part_shift);
            const uint32_t root = dfq_nearest_square_root(first * first + second * second);
            const int32_t size = (int32_t)((root * (uint32_t)layer->multiplier + half) >> layer->shift);
            dfq_store(out, layer->out_wide, place, dfq_clamp(layer->zero_point + size, layer->lo, layer->hi));
            left += shape->pitch_a[3];
            right += shape->pitch_b[3];
        }
    }
}

#endif
