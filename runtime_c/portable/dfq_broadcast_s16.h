/* SPDX-License-Identifier: MIT-0 */
/* Two tensors, int8 or int16 each, element by element, where one may repeat along axes: product, sum, larger, smaller.
 *
 *   out [size[0]] ... [size[3]], int8 or int16; a and b as in dfq_broadcast_s8.h
 *
 * The compiler has proved that no product or sum leaves 32 bits. `out` may be an operand of its shape and type, or
 * end with it where it is wider.
 * Equal QWideMul, QBroadcastAdd and QMaximum bit for bit.
 * Tested by tests/kernels/test_portable_more.py.
 */
#ifndef DFQ_BROADCAST_S16_H
#define DFQ_BROADCAST_S16_H

#include "dfq_broadcast_s8.h"
#include "dfq_wide_s16.h"

/* clamp(zero_point + ((((a - zero_a) * (b - zero_b) << pre_shift) * multiplier + 2^31) >> 32), lo, hi), or with a
 * `shift`, for scales that are powers of two, clamp(((a - zero_a) * (b - zero_b) + offset) >> shift, lo, hi) */
typedef struct {
    dfq_broadcast_t shape;
    int32_t zero_a, zero_b, multiplier, pre_shift, zero_point;
    int32_t shift, offset;
    int32_t lo, hi;
    int32_t a_wide, b_wide, out_wide;
} dfq_multiply_s16_t;

DFQ_KERNEL void dfq_multiply_s16(const dfq_multiply_s16_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    const dfq_broadcast_t *shape = &layer->shape;
    int32_t place = 0;
    for (int32_t line = 0; line < dfq_broadcast_lines(shape); line++) {
        int32_t left = dfq_broadcast_line(shape, shape->pitch_a, line);
        int32_t right = dfq_broadcast_line(shape, shape->pitch_b, line);
        for (int32_t l = 0; l < shape->size[3]; l++, place++) {
            const int32_t p = dfq_load(a, layer->a_wide, left) - layer->zero_a;
            const int32_t q = dfq_load(b, layer->b_wide, right) - layer->zero_b;
            int32_t value;
            if (layer->shift != 0) {
                value = dfq_shift_right(p * q + layer->offset, layer->shift);
            } else {
                const int32_t product = p * q * (int32_t)((uint32_t)1 << layer->pre_shift);
                value = layer->zero_point + dfq_multiply_round(product, layer->multiplier);
            }
            dfq_store(out, layer->out_wide, place, dfq_clamp(value, layer->lo, layer->hi));
            left += shape->pitch_a[3];
            right += shape->pitch_b[3];
        }
    }
}

/* clamp(form of a and b, lo, hi) */
typedef struct {
    dfq_broadcast_t shape;
    dfq_sum_form_t form;
    int32_t lo, hi;
    int32_t a_wide, b_wide, out_wide;
} dfq_broadcast_add_s16_t;

DFQ_KERNEL void dfq_broadcast_add_s16(const dfq_broadcast_add_s16_t *layer, const int8_t *a, const int8_t *b,
                                      int8_t *out)
{
    const dfq_broadcast_t *shape = &layer->shape;
    int32_t place = 0;
    for (int32_t line = 0; line < dfq_broadcast_lines(shape); line++) {
        int32_t left = dfq_broadcast_line(shape, shape->pitch_a, line);
        int32_t right = dfq_broadcast_line(shape, shape->pitch_b, line);
        for (int32_t l = 0; l < shape->size[3]; l++, place++) {
            const int32_t p = dfq_load(a, layer->a_wide, left);
            const int32_t value = dfq_add_form(&layer->form, p, dfq_load(b, layer->b_wide, right));
            dfq_store(out, layer->out_wide, place, dfq_clamp(value, layer->lo, layer->hi));
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
    int32_t a_wide, b_wide, out_wide;
} dfq_maximum_s16_t;

DFQ_KERNEL void dfq_maximum_s16(const dfq_maximum_s16_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    const dfq_broadcast_t *shape = &layer->shape;
    int32_t place = 0;
    for (int32_t line = 0; line < dfq_broadcast_lines(shape); line++) {
        int32_t left = dfq_broadcast_line(shape, shape->pitch_a, line);
        int32_t right = dfq_broadcast_line(shape, shape->pitch_b, line);
        for (int32_t l = 0; l < shape->size[3]; l++, place++) {
            const int32_t p = dfq_load(a, layer->a_wide, left) * layer->multiplier_a + layer->offset_a;
            const int32_t q = dfq_load(b, layer->b_wide, right) * layer->multiplier_b + layer->offset_b;
            const int32_t chosen = layer->minimum != 0 ? dfq_min(p, q) : dfq_max(p, q);
            const int32_t value = dfq_clamp(dfq_shift_right(chosen, layer->shift), layer->lo, layer->hi);
            dfq_store(out, layer->out_wide, place, value);
            left += shape->pitch_a[3];
            right += shape->pitch_b[3];
        }
    }
}

#endif
