/* SPDX-License-Identifier: MIT-0 */
/* Convolution without groups, and fully connected layers, int8, Helium.
 *
 *   x        [in_height][in_width][in_channels]
 *   out      [out_height][out_width][out_channels]
 *   weight, bias  as dfq_mve_gemm.h wants them, depth in the order [kernel_width][kernel_height][in_channels]
 *   scratch  dfq_conv2d_s8s8_2x4_mve: the strip of an output row, [columns][kernel_height][in_channels]
 *
 * A row of outputs is written only after its strip is made, pointwise a pair of pixels after it is read (the first 64
 * channels of it): `out` may overlap the part of `x` that is not read later.
 * Equal QConv2D bit for bit.
 * Tested by tests/kernels/test_mve.py and, on the instructions, test_mve_qemu.py.
 */
#ifndef DFQ_CONV2D_S8S8_MVE_H
#define DFQ_CONV2D_S8S8_MVE_H

#include "dfq_mve_gemm.h"

/* A 1x1 kernel without padding over whole vectors of channels reads the tensor itself. With stride 1 the
 * compiler gives the image as a single row. in_channels % 16 == 0. */
typedef struct {
    dfq_mve_linear_t linear;
    int32_t in_width;
    int32_t out_height;
    int32_t out_width;
    int32_t stride_y;
    int32_t stride_x;
} dfq_pointwise_s8s8_mve_t;

DFQ_KERNEL void dfq_pointwise_s8s8_2x4_mve(const dfq_pointwise_s8s8_mve_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_mve_linear_t *linear = &layer->linear;
    const int32_t in_row = layer->stride_y * layer->in_width * linear->depth;
    for (int32_t oy = 0; oy < layer->out_height; oy++) {
        dfq_mve_pixels(linear, x, layer->stride_x * linear->depth, out, layer->out_width);
        x += in_row;
        out += layer->out_width * linear->pitch;
    }
}

/* Any kernel, stride, dilation and padding.
 *
 * For each output row the input rows under it are turned into a strip of columns,
 * [strip_columns][kernel_height][in_channels], padding included: the window of an output pixel is then one
 * contiguous run, and neighbours share it. With horizontal dilation d the columns 0, d, 2d ... come first, then
 * 1, d + 1 ..., `phase_columns` of each, which keeps windows contiguous.
 *
 * `spread` is for few channels: where bytes i = 0..15 of an input row go, spread[i] from where byte 0 goes;
 * `spread_run` is how many of these are whole pixels (0: columns are copied one by one).
 */
typedef struct {
    dfq_mve_linear_t linear;
    int32_t in_height;
    int32_t in_width;
    int32_t in_channels;
    int32_t out_height;
    int32_t out_width;
    int32_t kernel_height;
    int32_t stride_y;
    int32_t stride_x;
    int32_t dilation_y;
    int32_t dilation_x;
    int32_t pad_top;
    int32_t pad_left;
    int32_t pad_value;
    int32_t strip_columns;
    int32_t phase_columns;
    int32_t spread_run;
    const uint8_t *spread;
} dfq_conv2d_s8s8_mve_t;

/* `count` columns of `bytes` bytes each. */
DFQ_INLINE void dfq_mve_copy_columns(int8_t *to, int32_t to_step, const int8_t *from, int32_t from_step, int32_t bytes,
                                     int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        dfq_mve_copy(to, from, bytes);
        to += to_step;
        from += from_step;
    }
}

/* The first `count` columns with a constant instead of an input row. */
DFQ_INLINE void dfq_mve_fill_columns(int8_t *to, int32_t to_step, int32_t value, int32_t bytes, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
#if DFQ_MVE
        const int8x16_t vector = vdupq_n_s8((int8_t)value);
        for (int32_t k = 0; k < bytes; k += 16) {
            vstrbq_p_s8(to + k, vector, vctp8q((uint32_t)(bytes - k)));
        }
#else
        dfq_fill(to, value, bytes);
#endif
        to += to_step;
    }
}

/* `count` bytes of pixels with few channels, whole pixels at a time. The byte after a run is the first of the next
 * pixel, at its right place, so that only the end of the row needs care. */
DFQ_INLINE void dfq_mve_spread(const dfq_conv2d_s8s8_mve_t *layer, int8_t *to, int32_t to_step, const int8_t *from,
                               int32_t count)
{
    const int32_t run = layer->spread_run;
#if DFQ_MVE
    const uint8x16_t places = vldrbq_u8(layer->spread);
    for (; count >= 16; count -= run, from += run, to += to_step) {
        vstrbq_scatter_offset_s8(to, places, vldrbq_s8(from));
    }
    for (; count > 0; count -= run, from += run, to += to_step) {
        const mve_pred16_t lanes = vctp8q((uint32_t)count);
        vstrbq_scatter_offset_p_s8(to, places, vldrbq_z_s8(from, lanes), lanes);
    }
#else
    for (; count > 0; count -= run, from += run, to += to_step) {
        for (int32_t i = 0; i < run && i < count; i++) {
            to[layer->spread[i]] = from[i];
        }
    }
#endif
}

/* The strip of one output row; `iy` is the input row of its first tap. Columns left and right of the image hold
 * padding already. */
DFQ_NOINLINE void dfq_mve_strip(const dfq_conv2d_s8s8_mve_t *layer, const int8_t *x, int32_t iy, int8_t *strip)
{
    const int32_t channels = layer->in_channels;
    const int32_t column = layer->kernel_height * channels;
    const int32_t dilation = layer->dilation_x;
    const int32_t end = dfq_min(layer->strip_columns, layer->pad_left + layer->in_width);
    for (int32_t ky = 0; ky < layer->kernel_height; ky++, iy += layer->dilation_y, strip += channels) {
        const bool inside = iy >= 0 && iy < layer->in_height;
        const int8_t *row = x + (inside ? iy : 0) * layer->in_width * channels;
        if (inside && layer->spread_run != 0) {
            dfq_mve_spread(layer, strip + layer->pad_left * column, layer->spread_run / channels * column, row,
                           (end - layer->pad_left) * channels);
            continue;
        }
        for (int32_t phase = 0; phase < dilation; phase++) {
            /* The first column of this phase that lies in the image, and how many follow. */
            const int32_t skip = (dfq_max(0, layer->pad_left - phase) + dilation - 1) / dilation;
            const int32_t first = phase + skip * dilation;
            const int32_t count = first < end ? (end - first + dilation - 1) / dilation : 0;
            int8_t *to = strip + (phase * layer->phase_columns + skip) * column;
            const int8_t *from = row + (first - layer->pad_left) * channels;
            if (!inside) {
                dfq_mve_fill_columns(to, column, layer->pad_value, channels, count);
            } else if (channels == 16) {
                dfq_mve_copy_columns(to, column, from, dilation * channels, 16, count);
            } else {
                dfq_mve_copy_columns(to, column, from, dilation * channels, channels, count);
            }
        }
    }
}

DFQ_KERNEL void dfq_conv2d_s8s8_2x4_mve(const dfq_conv2d_s8s8_mve_t *layer, const int8_t *x, int8_t *out,
                                        int8_t *scratch)
{
    const dfq_mve_linear_t *linear = &layer->linear;
    const int32_t column = layer->kernel_height * layer->in_channels;
    const int32_t dilation = layer->dilation_x;
    /* Up to 15 bytes after the last column are read and meet zero weights. */
    dfq_mve_fill(scratch, layer->pad_value, (layer->phase_columns * dilation * column + 30) / 16 * 16);
    for (int32_t oy = 0; oy < layer->out_height; oy++) {
        dfq_mve_strip(layer, x, oy * layer->stride_y - layer->pad_top, scratch);
        if (dilation == 1) {
            dfq_mve_pixels(linear, scratch, layer->stride_x * column, out, layer->out_width);
            out += layer->out_width * linear->pitch;
            continue;
        }
        for (int32_t ox = 0; ox < layer->out_width; ox++) {
            const int32_t first = ox * layer->stride_x;
            const int32_t place = first % dilation * layer->phase_columns + first / dilation;
            dfq_mve_pixels(linear, scratch + place * column, 0, out, 1);
            out += linear->pitch;
        }
    }
}

#endif
