/* SPDX-License-Identifier: MIT-0 */
/* Linear interpolation of an int8 image, both ways.
 *
 *   x    [.][in_width][channels]
 *   out  [out_height][out_width][channels]
 *   out  = (top * (2048 - wy) + bottom * wy + 2^21) >> 22, top and bottom = left * (2048 - wx) + right * wx
 *
 * row_offsets hold two distances from x for each output row, column_offsets two distances from the row for each
 * output column, in elements; weights are of the second of the two, in 1/2048. The sum fits 30 bits.
 * Equals QResizeLinear bit for bit; `out` and `x` are disjoint.
 * Tested by tests/kernels/test_portable_more.py.
 */
#ifndef DFQ_RESIZE_LINEAR_S8_H
#define DFQ_RESIZE_LINEAR_S8_H

#include "dfq_common.h"

typedef struct {
    const DFQ_FLASH int32_t *row_offsets; /* [out_height][2] */
    const DFQ_FLASH int16_t *row_weights; /* [out_height] */
    const DFQ_FLASH int32_t *column_offsets;
    const DFQ_FLASH int16_t *column_weights;
    int32_t out_height, out_width, channels;
} dfq_resize_linear_s8_t;

DFQ_KERNEL void dfq_resize_linear_s8(const dfq_resize_linear_s8_t *layer, const int8_t *x, int8_t *out)
{
    for (int32_t i = 0; i < layer->out_height; i++) {
        const int8_t *top = x + layer->row_offsets[2 * i];
        const int8_t *bottom = x + layer->row_offsets[2 * i + 1];
        const int32_t wy = layer->row_weights[i];
        for (int32_t j = 0; j < layer->out_width; j++) {
            const int32_t left = layer->column_offsets[2 * j];
            const int32_t right = layer->column_offsets[2 * j + 1];
            const int32_t wx = layer->column_weights[j];
            for (int32_t c = 0; c < layer->channels; c++) {
                const int32_t above = top[left + c] * (2048 - wx) + top[right + c] * wx;
                const int32_t below = bottom[left + c] * (2048 - wx) + bottom[right + c] * wx;
                const int32_t sum = above * (2048 - wy) + below * wy + ((int32_t)1 << 21);
                *out++ = (int8_t)dfq_shift_right(sum, 22);
            }
        }
    }
}

#endif
