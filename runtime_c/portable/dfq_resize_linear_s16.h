/* SPDX-License-Identifier: MIT-0 */
/* Linear interpolation of an int16 image, both ways.
 *
 *   x    [.][in_width][channels]
 *   out  [out_height][out_width][channels]
 *   out  = (top * (2048 - wy) + bottom * wy + half) >> (22 - between)
 *   top and bottom = (left * (2048 - wx) + right * wx + half) >> between, half being that of the shift behind it
 *
 * The tables are as in dfq_resize_linear_s8.h. `out` and `x` are disjoint.
 * Equals QResizeLinear bit for bit.
 * Tested by tests/kernels/test_portable_more.py.
 */
#ifndef DFQ_RESIZE_LINEAR_S16_H
#define DFQ_RESIZE_LINEAR_S16_H

#include "dfq_wide_s16.h"

typedef struct {
    const DFQ_FLASH int32_t *row_offsets; /* [out_height][2] */
    const DFQ_FLASH int16_t *row_weights; /* [out_height] */
    const DFQ_FLASH int32_t *column_offsets;
    const DFQ_FLASH int16_t *column_weights;
    int32_t out_height, out_width, channels;
    int32_t between;
} dfq_resize_linear_s16_t;

DFQ_KERNEL void dfq_resize_linear_s16(const dfq_resize_linear_s16_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t shift = 22 - layer->between;
    const int32_t half = (int32_t)((uint32_t)1 << (shift - 1));
    const int32_t row_half = (int32_t)((uint32_t)1 << layer->between >> 1);
    int32_t place = 0;
    for (int32_t i = 0; i < layer->out_height; i++) {
        const int32_t top = layer->row_offsets[2 * i];
        const int32_t bottom = layer->row_offsets[2 * i + 1];
        const int32_t wy = layer->row_weights[i];
        for (int32_t j = 0; j < layer->out_width; j++) {
            const int32_t left = layer->column_offsets[2 * j];
            const int32_t right = layer->column_offsets[2 * j + 1];
            const int32_t wx = layer->column_weights[j];
            for (int32_t c = 0; c < layer->channels; c++, place++) {
                const int32_t a = dfq_load(x, 1, top + left + c), b = dfq_load(x, 1, top + right + c);
                const int32_t d = dfq_load(x, 1, bottom + left + c), e = dfq_load(x, 1, bottom + right + c);
                const int32_t above = dfq_shift_right(a * (2048 - wx) + b * wx + row_half, layer->between);
                const int32_t below = dfq_shift_right(d * (2048 - wx) + e * wx + row_half, layer->between);
                dfq_store(out, 1, place, dfq_shift_right(above * (2048 - wy) + below * wy + half, shift));
            }
        }
    }
}

#endif
