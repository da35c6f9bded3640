/* SPDX-License-Identifier: MIT-0 */
/* 2-D convolution, int8, Arm DSP extension: any kernel, stride, dilation and padding; one group.
 *
 *   x        [in_height][in_width][in_channels]
 *   stream   weights packed for dfq_dsp_matmul.h
 *   y        [out_height][out_width][out_channels]
 *   scratch  4 * depth bytes, and 2 * depth more where in_channels is not a multiple of 4
 *
 * The windows of two output pixels are widened to int16 into scratch, interleaved, and multiplied by all filters.
 * Pixels run in raster order, across rows. A pair is written only after it is gathered, so `y` may overlap the
 * part of `x` that no later window reads. Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_CONV2D_S8S8_DSP_H
#define DFQ_CONV2D_S8S8_DSP_H

#include "dfq_dsp_matmul.h"
#include "dfq_dsp_widen.h"

typedef struct {
    dfq_dsp_matmul_t matmul;
    dfq_dsp_bounds_t bounds;
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width;
    int32_t kernel_height, kernel_width;
    int32_t stride_y, stride_x;
    int32_t dilation_y, dilation_x;
    int32_t pad_top, pad_left, pad_value;
} dfq_conv2d_s8s8_dsp_t;

/* Widen `count` inputs of one of the two interleaved pixels. */
DFQ_INLINE dfq_word_t *dfq_dsp_widen_one(dfq_word_t *to, const int8_t *x, int32_t count)
{
    for (; count > 0; count -= 4, to += 4, x += 4) {
        const uint32_t word = dfq_dsp_load(x);
        to[0] = dfq_dsp_widen_even(word);
        to[2] = dfq_dsp_widen_odd(word);
    }
    return to;
}

DFQ_INLINE dfq_word_t *dfq_dsp_fill_one(dfq_word_t *to, int32_t value, int32_t count)
{
    const uint32_t pair = ((uint32_t)value & 0xFFFFu) * 0x10001u;
    for (; count > 0; count -= 4, to += 4) {
        to[0] = pair;
        to[2] = pair;
    }
    return to;
}

DFQ_INLINE void dfq_dsp_copy(int8_t *to, const int8_t *from, int32_t count)
{
    for (; count >= 4; count -= 4, to += 4, from += 4) {
        dfq_dsp_store(to, dfq_dsp_load(from));
    }
    for (; count > 0; count--) {
        *to++ = *from++;
    }
}

/* `count` is a multiple of 4. */
DFQ_INLINE void dfq_dsp_fill(int8_t *to, int32_t value, int32_t count)
{
    for (int32_t i = 0; i < count; i += 4) {
        dfq_dsp_store(to + i, dfq_dsp_lanes(value));
    }
}

/* Where an output pixel's window starts, in input pixels. */
typedef struct {
    int32_t y, x;
} dfq_dsp_window_t;

/* Whether no tap of the window falls into the padding. */
DFQ_INLINE bool dfq_dsp_inside(const dfq_conv2d_s8s8_dsp_t *layer, dfq_dsp_window_t window)
{
    const int32_t last_y = layer->in_height - 1 - (layer->kernel_height - 1) * layer->dilation_y;
    const int32_t last_x = layer->in_width - 1 - (layer->kernel_width - 1) * layer->dilation_x;
    return window.y >= 0 && window.y <= last_y && window.x >= 0 && window.x <= last_x;
}

/* Two windows without padding, in_channels % 4 == 0. */
DFQ_INLINE void dfq_dsp_gather_pair(const dfq_conv2d_s8s8_dsp_t *layer, const int8_t *x, dfq_dsp_window_t first,
                                    dfq_dsp_window_t second, dfq_word_t *columns)
{
    const int32_t run = layer->dilation_x == 1 ? layer->kernel_width : 1;
    const int8_t *x0 = x + (first.y * layer->in_width + first.x) * layer->in_channels;
    const int8_t *x1 = x + (second.y * layer->in_width + second.x) * layer->in_channels;
    for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
        const int32_t row = ky * layer->dilation_y * layer->in_width * layer->in_channels;
        for (int32_t kx = 0; kx < layer->kernel_width; kx += run) {
            const int32_t tap = row + kx * layer->dilation_x * layer->in_channels;
            columns = dfq_dsp_widen_pair(columns, x0 + tap, x1 + tap, run * layer->in_channels);
        }
    }
}

/* Any window, in_channels % 4 == 0: one of the two interleaved columns. */
DFQ_DSP_RARE void dfq_dsp_gather_one(const dfq_conv2d_s8s8_dsp_t *layer, const int8_t *x, dfq_dsp_window_t window,
                                     dfq_word_t *column)
{
    for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
        const int32_t iy = window.y + ky * layer->dilation_y;
        const int8_t *row = x + iy * layer->in_width * layer->in_channels;
        for (int32_t kx = 0; kx < layer->kernel_width; kx++) {
            const int32_t ix = window.x + kx * layer->dilation_x;
            if (iy < 0 || iy >= layer->in_height || ix < 0 || ix >= layer->in_width) {
                column = dfq_dsp_fill_one(column, layer->pad_value, layer->in_channels);
            } else {
                column = dfq_dsp_widen_one(column, row + ix * layer->in_channels, layer->in_channels);
            }
        }
    }
}

/* Any window, any number of channels: contiguous int8. */
DFQ_INLINE void dfq_dsp_gather_bytes(const dfq_conv2d_s8s8_dsp_t *layer, const int8_t *x, dfq_dsp_window_t window,
                                     int8_t *column)
{
    const int32_t run = layer->kernel_width * layer->in_channels;
    if (layer->dilation_x == 1 && dfq_dsp_inside(layer, window)) {
        const int8_t *from = x + (window.y * layer->in_width + window.x) * layer->in_channels;
        for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
            dfq_dsp_copy(column, from, run);
            column += run;
            from += layer->dilation_y * layer->in_width * layer->in_channels;
        }
        return;
    }
    /* Padding everywhere, then what there is of the window. */
    dfq_dsp_fill(column, layer->pad_value, layer->matmul.depth);
    const int32_t left = dfq_min(dfq_max(-window.x, 0), layer->kernel_width);
    const int32_t end = dfq_max(dfq_min(layer->in_width - window.x, layer->kernel_width), left);
    for (int32_t ky = 0; ky < layer->kernel_height; ky++, column += run) {
        const int32_t iy = window.y + ky * layer->dilation_y;
        const int8_t *row = x + iy * layer->in_width * layer->in_channels;
        if (iy < 0 || iy >= layer->in_height) {
            continue;
        }
        if (layer->dilation_x == 1) {
            /* The taps of a row are neighbours: one run between the left and the right padding. */
            if (end > left) {
                dfq_dsp_copy(column + left * layer->in_channels, row + (window.x + left) * layer->in_channels,
                             (end - left) * layer->in_channels);
            }
            continue;
        }
        for (int32_t kx = 0; kx < layer->kernel_width; kx++) {
            const int32_t ix = window.x + kx * layer->dilation_x;
            if (ix >= 0 && ix < layer->in_width) {
                dfq_dsp_copy(column + kx * layer->in_channels, row + ix * layer->in_channels, layer->in_channels);
            }
        }
    }
}

/* Outputs of two pixels (y1 may be y0) from their interleaved columns. */
typedef void dfq_dsp_multiply_t(const dfq_conv2d_s8s8_dsp_t *layer, dfq_word_t *columns,
                                const dfq_dsp_matmul_args_t *args, int8_t *y0, int8_t *y1);

/* Gather and multiply two pixels after two pixels. */
DFQ_INLINE void dfq_dsp_conv2d_with(dfq_dsp_multiply_t *multiply, const dfq_conv2d_s8s8_dsp_t *layer, const int8_t *x,
                                    int8_t *y, dfq_word_t *columns, const dfq_dsp_matmul_args_t *args)
{
    const int32_t depth = layer->matmul.depth;
    const int32_t out_channels = layer->matmul.out_channels;
    const int32_t pixels = layer->out_height * layer->out_width;
    const int32_t line_end = layer->out_width * layer->stride_x - layer->pad_left;
    int8_t *bytes = (int8_t *)(columns + depth);
    dfq_dsp_window_t next = { -layer->pad_top, -layer->pad_left };
    for (int32_t pixel = 0; pixel < pixels; pixel += 2) {
        /* A single last pixel is computed twice, to one place. */
        const int32_t second = pixel + 1 < pixels ? 1 : 0;
        dfq_dsp_window_t windows[2];
        for (int32_t i = 0; i < 2; i++) {
            windows[i] = i <= second ? next : windows[0];
            next.x += layer->stride_x;
            if (next.x == line_end) {
                next.x = -layer->pad_left;
                next.y += layer->stride_y;
            }
        }
        if (layer->in_channels % 4 != 0) {
            for (int32_t i = 0; i < 2; i++) {
                dfq_dsp_gather_bytes(layer, x, windows[i], bytes + i * depth);
            }
            (void)dfq_dsp_widen_pair(columns, bytes, bytes + depth, depth);
        } else if (dfq_dsp_inside(layer, windows[0]) && dfq_dsp_inside(layer, windows[1])) {
            dfq_dsp_gather_pair(layer, x, windows[0], windows[1], columns);
        } else {
            dfq_dsp_gather_one(layer, x, windows[0], columns);
            dfq_dsp_gather_one(layer, x, windows[1], columns + 1);
        }
        multiply(layer, columns, args, y, y + second * out_channels);
        y += 2 * out_channels;
    }
}

DFQ_INLINE void dfq_dsp_conv2d_multiply(const dfq_conv2d_s8s8_dsp_t *layer, dfq_word_t *columns,
                                        const dfq_dsp_matmul_args_t *args, int8_t *y0, int8_t *y1)
{
    dfq_dsp_matmul_pair(&layer->matmul, &layer->bounds, columns, args, y0, y1);
}

DFQ_KERNEL void dfq_conv2d_s8s8_2x4_dsp(const dfq_conv2d_s8s8_dsp_t *layer, const int8_t *x, int8_t *y, int8_t *scratch)
{
    dfq_word_t *columns = (dfq_word_t *)(void *)scratch;
    const dfq_dsp_matmul_args_t args = dfq_dsp_pair_args(&layer->matmul, columns);
    dfq_dsp_conv2d_with(dfq_dsp_conv2d_multiply, layer, x, y, columns, &args);
}

#endif
