/* SPDX-License-Identifier: MIT-0 */
/* Convolutions and fully connected layers with int16 activations, Arm DSP extension: inputs and outputs int8 or int16
 * each, weights of 2 to 8 bits, one group.
 *
 *   x        [in_height][in_width][in_channels], 2-byte aligned where int16
 *   weight, factors  as dfq_dsp_wide_matmul.h wants them
 *   y        [out_height][out_width][out_channels]; disjoint from x unless all channels are one chunk, or `tile` is set
 *   scratch  the columns of two pixels, 4 * depth bytes, of a tile of pixels 2 * depth * tile; then a pixel of padding
 *            where inputs are int16 with an even number of channels, elsewhere two windows, 4 * depth bytes; then a
 *            chunk of weights
 *
 * With several chunks either each meets all pixels before the next is widened, or all of them meet one tile of pixels
 * after the other, whose inputs are then read before any of its outputs is written.
 *
 * Equal QConv2D bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_CONV2D_S16SN_DSP_H
#define DFQ_CONV2D_S16SN_DSP_H

#include "dfq_dsp_wide_matmul.h"

typedef struct {
    dfq_dsp_wide_matmul_t matmul;
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width;
    int32_t kernel_height, kernel_width;
    int32_t stride_y, stride_x;
    int32_t dilation_y, dilation_x;
    int32_t pad_top, pad_left, pad_value;
    int32_t tile; /* pixels, an even number; 0: all pixels, a pair gathered at a time */
} dfq_conv2d_s16sn_dsp_t;

/* `count` words of two pixels, interleaved. The pixels are word aligned. */
DFQ_INLINE dfq_word_t *dfq_dsp_interleave(dfq_word_t *to, const dfq_word_t *x0, const dfq_word_t *x1, int32_t count)
{
#if DFQ_DSP_ASM_BLOCKS
    DFQ_UNROLL(1)
    for (; count >= 4; count -= 4) {
        __asm__ volatile("ldm %1!, {r2, r4, r6, r9}\n\t"
                         "ldm %2!, {r3, r5, r8, r10}\n\t"
                         "stm %0!, {r2, r3, r4, r5, r6, r8, r9, r10}"
                         : "+r"(to), "+r"(x0), "+r"(x1)
                         :
                         : "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "memory");
    }
    DFQ_UNROLL(1)
#endif
    for (; count > 0; count--, to += 2) {
        to[0] = *x0++;
        to[1] = *x1++;
    }
    return to;
}

/* Where an output pixel's window starts, in input pixels. */
typedef struct {
    int32_t y, x;
} dfq_dsp_corner_t;

/* Whether no tap of the window falls into the padding. */
DFQ_INLINE bool dfq_dsp_wide_inside(const dfq_conv2d_s16sn_dsp_t *layer, dfq_dsp_corner_t corner)
{
    const int32_t last_y = layer->in_height - 1 - (layer->kernel_height - 1) * layer->dilation_y;
    const int32_t last_x = layer->in_width - 1 - (layer->kernel_width - 1) * layer->dilation_x;
    return corner.y >= 0 && corner.y <= last_y && corner.x >= 0 && corner.x <= last_x;
}

/* Two windows of int16 without padding, an even number of channels: straight to the columns. */
DFQ_INLINE void dfq_dsp_wide_gather_pair(const dfq_conv2d_s16sn_dsp_t *layer, const int8_t *x, dfq_dsp_corner_t first,
                                         dfq_dsp_corner_t second, dfq_word_t *columns)
{
    const int32_t words = layer->in_channels / 2;
    const int32_t run = layer->dilation_x == 1 ? layer->kernel_width : 1;
    const dfq_word_t *x0 = (const dfq_word_t *)(const void *)x + (first.y * layer->in_width + first.x) * words;
    const dfq_word_t *x1 = (const dfq_word_t *)(const void *)x + (second.y * layer->in_width + second.x) * words;
    for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
        const int32_t row = ky * layer->dilation_y * layer->in_width * words;
        for (int32_t kx = 0; kx < layer->kernel_width; kx += run) {
            const int32_t tap = row + kx * layer->dilation_x * words;
            columns = dfq_dsp_interleave(columns, x0 + tap, x1 + tap, run * words);
        }
    }
}

/* The inputs under one tap of a window, or a pixel of padding. */
DFQ_INLINE const dfq_word_t *dfq_dsp_wide_tap(const dfq_conv2d_s16sn_dsp_t *layer, const int8_t *x, int32_t iy,
                                              int32_t ix, const dfq_word_t *padding)
{
    const bool inside = iy >= 0 && iy < layer->in_height && ix >= 0 && ix < layer->in_width;
    const int32_t pixel = (iy * layer->in_width + ix) * (layer->in_channels / 2);
    return inside ? (const dfq_word_t *)(const void *)x + pixel : padding;
}

/* Any two windows of int16, an even number of channels. */
DFQ_SHARED void dfq_dsp_wide_gather_taps(const dfq_conv2d_s16sn_dsp_t *layer, const int8_t *x, dfq_dsp_corner_t first,
                                         dfq_dsp_corner_t second, const dfq_word_t *padding, dfq_word_t *columns)
{
    for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
        const int32_t down = ky * layer->dilation_y;
        for (int32_t kx = 0; kx < layer->kernel_width; kx++) {
            const int32_t right = kx * layer->dilation_x;
            const dfq_word_t *x0 = dfq_dsp_wide_tap(layer, x, first.y + down, first.x + right, padding);
            const dfq_word_t *x1 = dfq_dsp_wide_tap(layer, x, second.y + down, second.x + right, padding);
            columns = dfq_dsp_interleave(columns, x0, x1, layer->in_channels / 2);
        }
    }
}

/* `count` inputs from `x` as contiguous int16. */
DFQ_INLINE dfq_half_t *dfq_dsp_wide_copy(dfq_half_t *to, const int8_t *x, int32_t wide, int32_t count)
{
    if (!wide) {
        for (; count >= 4; count -= 4, x += 4, to += 4) {
            const uint32_t word = dfq_dsp_load(x);
            const uint32_t even = dfq_dsp_widen_even(word), odd = dfq_dsp_widen_odd(word);
            dfq_dsp_store((int8_t *)to, dfq_dsp_bottoms(even, odd));
            dfq_dsp_store((int8_t *)(to + 2), dfq_dsp_tops(even, odd));
        }
    }
    if (wide) {
        DFQ_UNROLL(4)
        for (; count >= 2; count -= 2, x += 4, to += 2) {
            dfq_dsp_store((int8_t *)to, dfq_dsp_load(x));
        }
    }
    for (; count > 0; count--, to++) {
        *to = (dfq_half_t)dfq_load(x, wide, 0);
        x += wide ? 2 : 1;
    }
    return to;
}

DFQ_INLINE dfq_half_t *dfq_dsp_wide_fill(dfq_half_t *to, int32_t value, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        to[i] = (dfq_half_t)value;
    }
    return to + count;
}

/* Any window of any inputs: contiguous int16, one more where their number is odd. */
DFQ_PART void dfq_dsp_wide_gather_any(const dfq_conv2d_s16sn_dsp_t *layer, const int8_t *x, dfq_dsp_corner_t corner,
                                      dfq_half_t *column)
{
    const int32_t wide = layer->matmul.in_wide;
    const int32_t channels = layer->in_channels;
    const int32_t run = layer->dilation_x == 1 ? layer->kernel_width : 1;
    dfq_half_t *const end = column + layer->matmul.depth;
    if (layer->dilation_x == 1 && dfq_dsp_wide_inside(layer, corner)) {
        int32_t from = (corner.y * layer->in_width + corner.x) * channels;
        for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
            column = dfq_dsp_wide_copy(column, wide ? x + 2 * from : x + from, wide, run * channels);
            from += layer->dilation_y * layer->in_width * channels;
        }
        if (column != end) {
            *column = 0;
        }
        return;
    }
    for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
        const int32_t iy = corner.y + ky * layer->dilation_y;
        if (iy < 0 || iy >= layer->in_height) {
            column = dfq_dsp_wide_fill(column, layer->pad_value, layer->kernel_width * channels);
            continue;
        }
        for (int32_t kx = 0; kx < layer->kernel_width; kx += run) {
            /* The taps of a run are neighbours: those between the left and the right padding are inputs. */
            const int32_t ix = corner.x + kx * layer->dilation_x;
            const int32_t left = dfq_min(dfq_max(-ix, 0), run);
            const int32_t last = dfq_max(dfq_min(layer->in_width - ix, run), left);
            const int32_t from = (iy * layer->in_width + ix + left) * channels;
            column = dfq_dsp_wide_fill(column, layer->pad_value, left * channels);
            if (last > left) {
                column = dfq_dsp_wide_copy(column, wide ? x + 2 * from : x + from, wide, (last - left) * channels);
            }
            column = dfq_dsp_wide_fill(column, layer->pad_value, (run - last) * channels);
        }
    }
    if (column != end) {
        *column = 0;
    }
}

/* The columns of the next pixel and the one after it, or of it twice where it is the last; `next` moves on. */
DFQ_INLINE void dfq_dsp_wide_columns(const dfq_conv2d_s16sn_dsp_t *layer, const int8_t *x, bool last,
                                     dfq_dsp_corner_t *next, dfq_word_t *spare, dfq_word_t *columns)
{
    const dfq_dsp_wide_matmul_t *matmul = &layer->matmul;
    const bool direct = matmul->in_wide && layer->in_channels % 2 == 0;
    const int32_t line_end = layer->out_width * layer->stride_x - layer->pad_left;
    dfq_half_t *halves = (dfq_half_t *)spare;
    dfq_dsp_corner_t corners[2];
    for (int32_t i = 0; i < 2; i++) {
        corners[i] = i == 0 || !last ? *next : corners[0];
        next->x += layer->stride_x;
        if (next->x == line_end) {
            next->x = -layer->pad_left;
            next->y += layer->stride_y;
        }
    }
    if (!direct) {
        dfq_dsp_wide_gather_any(layer, x, corners[0], halves);
        dfq_dsp_wide_gather_any(layer, x, corners[1], halves + matmul->depth);
        dfq_dsp_interleave(columns, spare, spare + matmul->depth / 2, matmul->depth / 2);
    } else if (dfq_dsp_wide_inside(layer, corners[0]) && dfq_dsp_wide_inside(layer, corners[1])) {
        dfq_dsp_wide_gather_pair(layer, x, corners[0], corners[1], columns);
    } else {
        dfq_dsp_wide_gather_taps(layer, x, corners[0], corners[1], spare, columns);
    }
}

DFQ_KERNEL void dfq_conv2d_s16sn_2x4_dsp(const dfq_conv2d_s16sn_dsp_t *layer, const int8_t *x, int8_t *y,
                                         int8_t *scratch)
{
    const dfq_dsp_wide_matmul_t *matmul = &layer->matmul;
    const bool direct = matmul->in_wide && layer->in_channels % 2 == 0;
    const int32_t depth = matmul->depth, pixels = layer->out_height * layer->out_width;
    const int32_t tile = layer->tile > 0 ? layer->tile : pixels;
    const int32_t pitch = matmul->out_wide ? 2 * matmul->out_channels : matmul->out_channels;
    dfq_word_t *columns = (dfq_word_t *)(void *)scratch;
    dfq_word_t *spare = columns + (layer->tile > 0 ? layer->tile / 2 : 1) * depth;
    dfq_word_t *stream = spare + (direct ? layer->in_channels / 2 : depth);
    dfq_dsp_corner_t next = { -layer->pad_top, -layer->pad_left };
    if (direct) {
        dfq_dsp_wide_fill((dfq_half_t *)spare, layer->pad_value, layer->in_channels);
    }
    for (int32_t start = 0; start < pixels; start += tile, y += tile * pitch) {
        const int32_t end = dfq_min(start + tile, pixels);
        const uint32_t *words = matmul->weight;
        if (layer->tile > 0) {
            for (int32_t pixel = start; pixel < end; pixel += 2) {
                dfq_word_t *to = columns + (pixel - start) / 2 * depth;
                dfq_dsp_wide_columns(layer, x, pixel + 1 == pixels, &next, spare, to);
            }
        }
        for (int32_t first = 0; first < matmul->out_channels; first += matmul->chunk) {
            const int32_t count = dfq_min(matmul->chunk, matmul->out_channels - first);
            dfq_dsp_corner_t corner = { -layer->pad_top, -layer->pad_left };
            dfq_word_t *of = columns;
            int8_t *out = matmul->out_wide ? y + 2 * first : y + first;
            words = dfq_dsp_wide_chunk(matmul, words, first / 4, (count + 3) / 4, stream);
            for (int32_t pixel = start; pixel < end; pixel += 2, out += 2 * pitch) {
                /* A single last pixel is computed twice, to one place. */
                const bool last = pixel + 1 == pixels;
                if (layer->tile == 0) {
                    dfq_dsp_wide_columns(layer, x, last, &corner, spare, columns);
                }
                const dfq_dsp_matmul_args_t args =
                    dfq_dsp_wide_args(matmul, of + depth, depth / 2, DFQ_DSP_WIDE_STEP_2X4_BYTES,
                                      (const int32_t *)(const void *)stream, count, dfq_dsp_wide_block_words(depth));
                dfq_dsp_wide_multiply(matmul, of, &args, first, count, out, last ? out : out + pitch);
                of += layer->tile > 0 ? depth : 0;
            }
        }
    }
}

typedef struct {
    dfq_dsp_wide_matmul_t matmul;
    int32_t in_elements;
} dfq_fully_connected_s16sn_dsp_t;

/* The blocks of channels `first` .. `first` + `count`, whose stream this is. */
DFQ_INLINE void dfq_dsp_wide_blocks(const dfq_fully_connected_s16sn_dsp_t *layer, const int8_t *x, const void *stream,
                                    int32_t first, int32_t count, int8_t *y)
{
    const dfq_dsp_wide_matmul_t *matmul = &layer->matmul;
    const dfq_dsp_matmul_args_t args = dfq_dsp_wide_args(matmul, x + 2 * matmul->depth, matmul->depth / 4,
                                                         DFQ_DSP_WIDE_STEP_1X4_BYTES, stream, count, matmul->depth + 8);
    if (matmul->out_wide) {
        dfq_dsp_wide_1x4_16(x, &args, y + 2 * first);
    } else {
        dfq_dsp_wide_1x4_8(x, &args, y + first);
    }
    if (matmul->narrow) {
        dfq_dsp_wide_clamp_values(matmul, matmul->out_wide ? y + 2 * first : y + first, first, count);
    }
}

/* A window over the whole input, int16, a multiple of four. The stream is in flash: for each block biases, depth words
 * of bytes, multipliers. */
DFQ_KERNEL void dfq_fully_connected_s16sn_1x4_dsp(const dfq_fully_connected_s16sn_dsp_t *layer, const int8_t *x,
                                                  int8_t *y)
{
    dfq_dsp_wide_blocks(layer, x, layer->matmul.weight, 0, layer->matmul.out_channels, y);
}

/* Any number of inputs of either type, and weights of any width. Scratch: depth int16; then a block of the stream
 * where weights have fewer bits than eight, and 32 bytes. */
DFQ_KERNEL void dfq_fully_connected_copied_s16sn_1x4_dsp(const dfq_fully_connected_s16sn_dsp_t *layer, const int8_t *x,
                                                         int8_t *y, int8_t *scratch)
{
    const dfq_dsp_wide_matmul_t *matmul = &layer->matmul;
    const int32_t depth = matmul->depth;
    dfq_half_t *halves = dfq_dsp_wide_copy((dfq_half_t *)(void *)scratch, x, matmul->in_wide, layer->in_elements);
    dfq_dsp_wide_fill(halves, 0, depth - layer->in_elements);
    if (matmul->bits == 8) {
        dfq_dsp_wide_blocks(layer, scratch, matmul->weight, 0, matmul->out_channels, y);
        return;
    }
    dfq_word_t *block = (dfq_word_t *)(void *)(scratch + 2 * depth);
    const uint32_t *words = matmul->weight;
    const int32_t *factors = matmul->factors;
    for (int32_t first = 0; first < matmul->out_channels; first += 4, factors += 8) {
        words = dfq_unpack(words, matmul->bits, 4 * depth, (int8_t *)(block + 4));
        for (int32_t i = 0; i < 4; i++) {
            block[i] = (uint32_t)factors[i];
            block[depth + 4 + i] = (uint32_t)factors[4 + i];
        }
        dfq_dsp_wide_blocks(layer, scratch, block, first, dfq_min(4, matmul->out_channels - first), y);
    }
}

#endif
