/* SPDX-License-Identifier: MIT-0 */
/* 2-D convolution, int8, any kernel, stride, dilation, padding and number of groups.
 *
 *   x        [in_height][in_width][in_channels]
 *   weight   [out_channels][kernel_height][kernel_width][in_channels / groups]
 *   out      [out_height][out_width][out_channels]
 *   scratch  2 * kernel_height * kernel_width * in_channels / groups bytes
 *
 * The windows of two neighbouring output pixels are gathered into scratch, padding included, and multiplied
 * by all filters. Each pair of pixels is written only after it is gathered (groups == 1), so `out` may
 * overlap the part of `x` that no later window reads.
 * Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_portable.py.
 */
#ifndef DFQ_CONV2D_S8S8_H
#define DFQ_CONV2D_S8S8_H

#include "dfq_common.h"
#include "dfq_matmul.h"

typedef struct {
    const DFQ_FLASH int8_t *weight;
    const DFQ_FLASH int32_t *bias;
    dfq_requantize_t requantize;
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width, out_channels;
    int32_t kernel_height, kernel_width;
    int32_t stride_y, stride_x;
    int32_t dilation_y, dilation_x;
    int32_t pad_top, pad_left, pad_value;
    int32_t groups;
} dfq_conv2d_s8s8_t;

/* One window of the channels that start at `x`, contiguous in `column`. */
DFQ_PART void dfq_gather_window(const dfq_conv2d_s8s8_t *layer, const int8_t *x, int32_t oy, int32_t ox, int8_t *column)
{
    const int32_t depth = layer->in_channels / layer->groups;
    const int32_t ix = ox * layer->stride_x - layer->pad_left;
    for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
        const int32_t iy = oy * layer->stride_y - layer->pad_top + ky * layer->dilation_y;
        if (iy < 0 || iy >= layer->in_height) {
            dfq_fill(column, layer->pad_value, layer->kernel_width * depth);
            column += layer->kernel_width * depth;
            continue;
        }
        const int8_t *row = x + iy * layer->in_width * layer->in_channels;
        if (layer->dilation_x == 1 && layer->groups == 1) {
            /* The taps of a row are neighbours: one run between the left and the right padding. */
            const int32_t left = dfq_min(dfq_max(-ix, 0), layer->kernel_width);
            const int32_t end = dfq_max(dfq_min(layer->in_width - ix, layer->kernel_width), left);
            dfq_fill(column, layer->pad_value, left * depth);
            dfq_copy(column + left * depth, row + (ix + left) * depth, (end - left) * depth);
            dfq_fill(column + end * depth, layer->pad_value, (layer->kernel_width - end) * depth);
            column += layer->kernel_width * depth;
            continue;
        }
        for (int32_t kx = 0; kx < layer->kernel_width; kx++, column += depth) {
            const int32_t tap_x = ix + kx * layer->dilation_x;
            if (tap_x < 0 || tap_x >= layer->in_width) {
                dfq_fill(column, layer->pad_value, depth);
            } else {
                dfq_copy(column, row + tap_x * layer->in_channels, depth);
            }
        }
    }
}

DFQ_KERNEL void dfq_conv2d_s8s8(const dfq_conv2d_s8s8_t *layer, const int8_t *x, int8_t *out, int8_t *scratch)
{
    const int32_t group_in = layer->in_channels / layer->groups;
    const int32_t group_out = layer->out_channels / layer->groups;
    const int32_t depth = layer->kernel_height * layer->kernel_width * group_in;
    for (int32_t oy = 0; oy < layer->out_height; oy++) {
        int32_t ox = 0;
        for (; ox + 2 <= layer->out_width; ox += 2, out += 2 * layer->out_channels) {
            for (int32_t g = 0; g < layer->groups; g++) {
                dfq_gather_window(layer, x + g * group_in, oy, ox, scratch);
                dfq_gather_window(layer, x + g * group_in, oy, ox + 1, scratch + depth);
                dfq_matmul_two_columns(scratch, depth, layer->weight, layer->bias, &layer->requantize, g * group_out,
                                       group_out, out, out + layer->out_channels);
            }
        }
        if (ox < layer->out_width) {
            for (int32_t g = 0; g < layer->groups; g++) {
                dfq_gather_window(layer, x + g * group_in, oy, ox, scratch);
                dfq_matmul_one_column(scratch, depth, layer->weight, layer->bias, &layer->requantize, g * group_out,
                                      group_out, out);
            }
            out += layer->out_channels;
        }
    }
}

#endif
