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
 */
#ifndef DFQ_DSP_CONV2D_H
#define DFQ_DSP_CONV2D_H

#include "dfq_dsp_matmul.h"

typedef struct {
    dfq_dsp_matmul_t matmul;
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width;
    int32_t kernel_height, kernel_width;
    int32_t stride_y, stride_x;
    int32_t dilation_y, dilation_x;
    int32_t pad_top, pad_left, pad_value;
} dfq_dsp_conv2d_t;

/* Widen `count` (a multiple of 4) inputs of two pixels, interleaved word by word. */
DFQ_INLINE dfq_word_t *dfq_dsp_widen_pair(dfq_word_t *to, const int8_t *x0, const int8_t *x1, int32_t count)
{
#if DFQ_DSP_ASM
#define DFQ_DSP_WIDEN_4                   \
    "ldr r2, [%1], #4\n\t"                \
    "ldr r3, [%2], #4\n\t"                \
    "sxtb16 r4, r2\n\t"                   \
    "sxtb16 r5, r3\n\t"                   \
    "sxtb16 r6, r2, ror #8\n\t"           \
    "sxtb16 r8, r3, ror #8\n\t"           \
    "stm %0!, {r4, r5, r6, r8}\n\t"
#define DFQ_DSP_WIDEN(text)               \
    __asm__ volatile(text : "+r"(to), "+r"(x0), "+r"(x1) : : "r2", "r3", "r4", "r5", "r6", "r8", "memory")
    for (; count >= 16; count -= 16) {
        DFQ_DSP_WIDEN(DFQ_DSP_WIDEN_4 DFQ_DSP_WIDEN_4 DFQ_DSP_WIDEN_4 DFQ_DSP_WIDEN_4);
    }
    for (; count > 0; count -= 4) {
        DFQ_DSP_WIDEN(DFQ_DSP_WIDEN_4);
    }
#else
    for (; count > 0; count -= 4, to += 4, x0 += 4, x1 += 4) {
        const uint32_t word0 = dfq_dsp_load(x0);
        const uint32_t word1 = dfq_dsp_load(x1);
        to[0] = dfq_dsp_widen_even(word0);
        to[1] = dfq_dsp_widen_even(word1);
        to[2] = dfq_dsp_widen_odd(word0);
        to[3] = dfq_dsp_widen_odd(word1);
    }
#endif
    return to;
}

/* The same for one of the two. */
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

DFQ_INLINE int8_t *dfq_dsp_copy(int8_t *to, const int8_t *from, int32_t count)
{
    for (; count >= 4; count -= 4, to += 4, from += 4) {
        dfq_dsp_store(to, dfq_dsp_load(from));
    }
    for (; count > 0; count--) {
        *to++ = *from++;
    }
    return to;
}

DFQ_INLINE int8_t *dfq_dsp_fill(int8_t *to, int32_t value, int32_t count)
{
    for (; count >= 4; count -= 4, to += 4) {
        dfq_dsp_store(to, dfq_dsp_lanes(value));
    }
    for (; count > 0; count--) {
        *to++ = (int8_t)value;
    }
    return to;
}

/* Where an output pixel's window starts, in input pixels. */
typedef struct {
    int32_t y, x;
} dfq_dsp_window_t;

/* Whether no tap of the window falls into the padding. */
DFQ_INLINE bool dfq_dsp_inside(const dfq_dsp_conv2d_t *layer, dfq_dsp_window_t window)
{
    const int32_t last_y = layer->in_height - 1 - (layer->kernel_height - 1) * layer->dilation_y;
    const int32_t last_x = layer->in_width - 1 - (layer->kernel_width - 1) * layer->dilation_x;
    return window.y >= 0 && window.y <= last_y && window.x >= 0 && window.x <= last_x;
}

/* Two windows without padding, in_channels % 4 == 0. */
DFQ_INLINE void dfq_dsp_gather_pair(const dfq_dsp_conv2d_t *layer, const int8_t *x, dfq_dsp_window_t first,
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
DFQ_NOINLINE void dfq_dsp_gather_one(const dfq_dsp_conv2d_t *layer, const int8_t *x, dfq_dsp_window_t window,
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
DFQ_INLINE void dfq_dsp_gather_bytes(const dfq_dsp_conv2d_t *layer, const int8_t *x, dfq_dsp_window_t window, int8_t *column)
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
    for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
        const int32_t iy = window.y + ky * layer->dilation_y;
        const int8_t *row = x + iy * layer->in_width * layer->in_channels;
        if (iy < 0 || iy >= layer->in_height) {
            column = dfq_dsp_fill(column, layer->pad_value, run);
        } else if (layer->dilation_x == 1) {
            /* The taps of a row are neighbours: one run between the left and the right padding. */
            const int32_t left = dfq_min(dfq_max(-window.x, 0), layer->kernel_width);
            const int32_t end = dfq_max(dfq_min(layer->in_width - window.x, layer->kernel_width), left);
            column = dfq_dsp_fill(column, layer->pad_value, left * layer->in_channels);
            if (end > left) {
                column = dfq_dsp_copy(column, row + (window.x + left) * layer->in_channels, (end - left) * layer->in_channels);
            }
            column = dfq_dsp_fill(column, layer->pad_value, (layer->kernel_width - end) * layer->in_channels);
        } else {
            for (int32_t kx = 0; kx < layer->kernel_width; kx++) {
                const int32_t ix = window.x + kx * layer->dilation_x;
                if (ix < 0 || ix >= layer->in_width) {
                    column = dfq_dsp_fill(column, layer->pad_value, layer->in_channels);
                } else {
                    column = dfq_dsp_copy(column, row + ix * layer->in_channels, layer->in_channels);
                }
            }
        }
    }
}

DFQ_KERNEL void dfq_dsp_conv2d(const dfq_dsp_conv2d_t *layer, const int8_t *x, int8_t *y, int8_t *scratch)
{
    const dfq_dsp_matmul_t *matmul = &layer->matmul;
    const int32_t depth = matmul->depth;
    const int32_t taps = layer->kernel_height * layer->kernel_width;
    const int32_t pixels = layer->out_height * layer->out_width;
    const int32_t origin = -layer->pad_left;
    const int32_t line_end = origin + layer->out_width * layer->stride_x;
    const bool pointwise = taps == 1 && layer->stride_y == 1 && layer->stride_x == 1 && layer->out_height == layer->in_height &&
                           layer->out_width == layer->in_width && layer->pad_top == 0 && layer->pad_left == 0;
    dfq_word_t *columns = (dfq_word_t *)(void *)scratch;
    int8_t *bytes = scratch + 4 * depth;
    dfq_dsp_window_t window = {-layer->pad_top, origin};
    const dfq_dsp_matmul_args_t args =
        dfq_dsp_matmul_args(matmul, scratch, 4 * depth, depth / 2,
                            matmul->plain ? DFQ_DSP_STEP_2X4_PLAIN_BYTES : DFQ_DSP_STEP_2X4_BYTES);
    for (int32_t pixel = 0; pixel < pixels; pixel += 2) {
        /* A single last pixel is computed twice, to one place. */
        const int32_t second = pixel + 1 < pixels ? 1 : 0;
        if (pointwise && layer->in_channels % 4 == 0) {
            dfq_dsp_widen_pair(columns, x, x + second * layer->in_channels, depth);
            x += 2 * layer->in_channels;
        } else {
            const dfq_dsp_window_t first = window;
            window.x += layer->stride_x;
            if (window.x == line_end) {
                window.x = origin;
                window.y += layer->stride_y;
            }
            if (!second) {
                window = first;
            }
            if (layer->in_channels % 4 != 0) {
                dfq_dsp_gather_bytes(layer, x, first, bytes);
                dfq_dsp_gather_bytes(layer, x, window, bytes + depth);
                dfq_dsp_widen_pair(columns, bytes, bytes + depth, depth);
            } else if (dfq_dsp_inside(layer, first) && dfq_dsp_inside(layer, window)) {
                dfq_dsp_gather_pair(layer, x, first, window, columns);
            } else {
                dfq_dsp_gather_one(layer, x, first, columns);
                dfq_dsp_gather_one(layer, x, window, columns + 1);
            }
            window.x += layer->stride_x;
            if (window.x == line_end) {
                window.x = origin;
                window.y += layer->stride_y;
            }
        }
        int8_t *y1 = y + second * matmul->out_channels;
        if (matmul->plain) {
            dfq_dsp_matmul_2x4_plain(scratch, &args, y, y1);
        } else {
            dfq_dsp_matmul_2x4_paired(scratch, &args, y, y1);
        }
        dfq_dsp_clamp(&matmul->bounds, y, 1 + second, matmul->out_channels);
        y += 2 * matmul->out_channels;
    }
}

#endif
