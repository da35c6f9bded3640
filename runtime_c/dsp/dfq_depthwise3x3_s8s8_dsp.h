/* SPDX-License-Identifier: MIT-0 */
/* Depthwise 3x3 convolution, int8, Arm DSP extension, stride 1 or stride 2, any padding.
 *
 *   x        [in_height][in_width][channels]
 *   stream   five words a channel: for each column of its filter the lanes {w0, w1, w1, w2} (top to bottom),
 *            then multiplier and bias
 *   y        [out_height][out_width][channels]
 *   scratch  stride 1: 8 * columns * channels bytes, channels rounded up to a multiple of 4;
 *            slices and stride 2: 32 * columns bytes;   columns = (out_width - 1) * stride + 3
 *
 * HWC rows are turned into vertical pairs: for each channel and column one word holds the pixels of rows r and
 * r + 1 as int16. With the pairs A = (r, r+1) and B = (r+2, r+3), output row r is A.(w0,w1) + B0*w2 and output row
 * r + 1 is A1*w0 + B.(w1,w2): three multiply-accumulate instructions for two outputs and three taps, at any column,
 * without shuffling in the loop. A and B lie side by side in scratch, padding included.
 *
 * Stride 1: every pair is made once; as the window moves down by two rows, B becomes A, so the two change places
 * (`swapped`). Rows are read before they are written over: `y` may be `x`.
 * Slices, stride 1: four channels at a time, and every pair is made twice: for a few rows alone, of which nothing
 * could be kept.
 * Stride 2: only output row r, so the third row needs no partner; four channels at a time.
 * Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_DEPTHWISE3X3_S8S8_DSP_H
#define DFQ_DEPTHWISE3X3_S8S8_DSP_H

#include "dfq_dsp_pairs.h"

typedef struct {
    const int32_t *stream;
    int32_t in_height, in_width, channels;
    int32_t out_height, out_width;
    int32_t pad_top, pad_left, pad_value;
    int32_t zero_point;
    dfq_dsp_bounds_t bounds;
} dfq_depthwise3x3_s8s8_dsp_t;

#define DFQ_DSP_DEPTHWISE_WORDS 5 /* of stream, a channel */

/* What the assembly reads, in this order. */
typedef struct {
    int32_t zero_point;
    int32_t row;          /* bytes from the first to the second output row; 0: there is none */
    int32_t pixel;        /* bytes from one output pixel to the next */
    int32_t blocks_bytes; /* scratch that the blocks of two output columns use up */
    int32_t next_x;       /* from the end of a channel's columns to the next channel's, in bytes */
    int32_t next_y;
    int32_t odd; /* 1: a single output column is left after the blocks */
    const int32_t *stream;
    const int32_t *stream_end;
} dfq_dsp_depthwise_args_t;

/* Arguments for `channels` channels from `first` on; `columns` of scratch a channel. */
DFQ_INLINE dfq_dsp_depthwise_args_t dfq_dsp_depthwise_args(const dfq_depthwise3x3_s8s8_dsp_t *layer, int32_t first,
                                                           int32_t channels, int32_t columns, int32_t stride)
{
    const dfq_dsp_depthwise_args_t args = {
        .zero_point = layer->zero_point,
        .row = layer->out_width * layer->channels,
        .pixel = layer->channels,
        .blocks_bytes = layer->out_width / 2 * 16 * stride,
        .next_x = 8 * columns - layer->out_width * 8 * stride,
        .next_y = 1 - layer->out_width * layer->channels,
        .odd = layer->out_width % 2,
        .stream = layer->stream + first * DFQ_DSP_DEPTHWISE_WORDS,
        .stream_end = layer->stream + (first + channels) * DFQ_DSP_DEPTHWISE_WORDS,
    };
    return args;
}

#if DFQ_DSP_ASM

/* clang-format off */
/* Registers: r0 columns, r1 output, r2 A, r3 B, r8-r10 (w0,w1) and r11, r12, lr (w1,w2) of the three filter columns.
 * Frame: */
#define DFQ_DSP_MULTIPLIER   "0" /* with the zero point one LDRD */
#define DFQ_DSP_ROW          "8" /* row, pixel: one LDRD */
#define DFQ_DSP_BLOCKS_BYTES "16"
#define DFQ_DSP_NEXT         "20" /* next_x, next_y: one LDRD */
#define DFQ_DSP_ODD          "28"
#define DFQ_DSP_STREAM       "32"
#define DFQ_DSP_STREAM_END   "36"
#define DFQ_DSP_BIAS         "40"
#define DFQ_DSP_BLOCKS_END   "44"

/* Enter; label 1 begins a channel: its filter, r6 multiplier, r7 bias; label 3 follows the last block. */
#define DFQ_DSP_CHANNEL_BEGIN                                             \
    "push {r4-r11, lr}\n"                                                 \
    "ldm r1, {r3-r11}\n"                                                  \
    "sub sp, sp, #8\n"                                                    \
    "mov r1, r2\n"                                                        \
    "push {r2-r11}\n"                                                     \
    "1:\n"                                                                \
    "ldr r5, [sp, #" DFQ_DSP_STREAM "]\n"                                 \
    "ldm r5!, {r2, r3, r4, r6, r7}\n"                                     \
    "str r5, [sp, #" DFQ_DSP_STREAM "]\n"                                 \
    "ldr r5, [sp, #" DFQ_DSP_BLOCKS_BYTES "]\n"                           \
    "sxtb16 r8, r2\n"                                                     \
    "sxtb16 r11, r2, ror #8\n"                                            \
    "sxtb16 r9, r3\n"                                                     \
    "sxtb16 r12, r3, ror #8\n"                                            \
    "sxtb16 r10, r4\n"                                                    \
    "sxtb16 lr, r4, ror #8\n"                                             \
    "str r6, [sp, #" DFQ_DSP_MULTIPLIER "]\n"                             \
    "str r7, [sp, #" DFQ_DSP_BIAS "]\n"                                   \
    "add r5, r5, r0\n"                                                    \
    "str r5, [sp, #" DFQ_DSP_BLOCKS_END "]\n"                             \
    "cmp r0, r5\n"                                                        \
    "beq 3f\n"                                                            \
    "2:\n"

#define DFQ_DSP_BLOCK_END                                                 \
    "ldr r2, [sp, #" DFQ_DSP_BLOCKS_END "]\n"                             \
    "cmp r0, r2\n"                                                        \
    "bne 2b\n"                                                            \
    "3:\n"                                                                \
    "ldr r2, [sp, #" DFQ_DSP_ODD "]\n"                                    \
    "cmp r2, #0\n"                                                        \
    "beq 4f\n"

#define DFQ_DSP_CHANNEL_END                                               \
    "4:\n"                                                                \
    "ldrd r2, r3, [sp, #" DFQ_DSP_NEXT "]\n"                              \
    "ldrd r4, r5, [sp, #" DFQ_DSP_STREAM "]\n"                            \
    "add r0, r0, r2\n"                                                    \
    "add r1, r1, r3\n"                                                    \
    "cmp r4, r5\n"                                                        \
    "bne 1b\n"                                                            \
    "add sp, sp, #48\n"                                                   \
    "pop {r4-r11, pc}\n"

/* One filter column for the output rows in a0 and a1. */
#define DFQ_DSP_TAPS_2(a0, a1, w01, w12)                                  \
    "smlad " a0 ", r2, " w01 ", " a0 "\n"                                 \
    "smlatb " a1 ", r2, " w01 ", " a1 "\n"                                \
    "smlabt " a0 ", r3, " w12 ", " a0 "\n"                                \
    "smlad " a1 ", r3, " w12 ", " a1 "\n"

/* Two rows by two columns of outputs: r4, r5 above, r6, r7 below. `pair` is "r2, r3", or "r3, r2" when swapped.
 * Outputs are saturated to `bits` and written by `store`. */
#define DFQ_DSP_DEPTHWISE_ROWS(pair, bits, store)                         \
    DFQ_DSP_CHANNEL_BEGIN                                                 \
    "ldr r4, [sp, #" DFQ_DSP_BIAS "]\n"                                   \
    "ldrd " pair ", [r0], #8\n"                                           \
    "mov r5, r4\n"                                                        \
    "mov r6, r4\n"                                                        \
    "mov r7, r4\n"                                                        \
    DFQ_DSP_TAPS_2("r4", "r6", "r8", "r11")                               \
    "ldrd " pair ", [r0], #8\n"                                           \
    DFQ_DSP_TAPS_2("r4", "r6", "r9", "r12")                               \
    DFQ_DSP_TAPS_2("r5", "r7", "r8", "r11")                               \
    "ldrd " pair ", [r0]\n"                                               \
    DFQ_DSP_TAPS_2("r4", "r6", "r10", "lr")                               \
    DFQ_DSP_TAPS_2("r5", "r7", "r9", "r12")                               \
    "ldrd " pair ", [r0, #8]\n"                                           \
    DFQ_DSP_TAPS_2("r5", "r7", "r10", "lr")                               \
    "ldrd r2, r3, [sp, #" DFQ_DSP_MULTIPLIER "]\n"                        \
    "smmlar r4, r4, r2, r3\n"                                             \
    "smmlar r5, r5, r2, r3\n"                                             \
    "smmlar r6, r6, r2, r3\n"                                             \
    "smmlar r7, r7, r2, r3\n"                                             \
    "ldrd r2, r3, [sp, #" DFQ_DSP_ROW "]\n"                               \
    "ssat r4, #" bits ", r4\n"                                            \
    "ssat r5, #" bits ", r5\n"                                            \
    "ssat r6, #" bits ", r6\n"                                            \
    "ssat r7, #" bits ", r7\n"                                            \
    store " r6, [r1, r2]\n"                                               \
    store " r4, [r1]\n"                                                   \
    "add r1, r1, r3\n"                                                    \
    store " r7, [r1, r2]\n"                                               \
    store " r5, [r1]\n"                                                   \
    "add r1, r1, r3\n"                                                    \
    DFQ_DSP_BLOCK_END                                                     \
    "ldr r4, [sp, #" DFQ_DSP_BIAS "]\n"                                   \
    "mov r6, r4\n"                                                        \
    "ldrd " pair ", [r0], #8\n"                                           \
    DFQ_DSP_TAPS_2("r4", "r6", "r8", "r11")                               \
    "ldrd " pair ", [r0]\n"                                               \
    DFQ_DSP_TAPS_2("r4", "r6", "r9", "r12")                               \
    "ldrd " pair ", [r0, #8]\n"                                           \
    DFQ_DSP_TAPS_2("r4", "r6", "r10", "lr")                               \
    "ldrd r2, r3, [sp, #" DFQ_DSP_MULTIPLIER "]\n"                        \
    "smmlar r4, r4, r2, r3\n"                                             \
    "smmlar r6, r6, r2, r3\n"                                             \
    "ldrd r2, r3, [sp, #" DFQ_DSP_ROW "]\n"                               \
    "ssat r4, #" bits ", r4\n"                                            \
    "ssat r6, #" bits ", r6\n"                                            \
    store " r6, [r1, r2]\n"                                               \
    store " r4, [r1]\n"                                                   \
    "add r1, r1, r3\n"                                                    \
    DFQ_DSP_CHANNEL_END

/* One filter column; `first` is the accumulator it starts from. */
#define DFQ_DSP_TAPS_1(a, first, w01, w12)                                \
    "smlad " a ", r2, " w01 ", " first "\n"                               \
    "smlabt " a ", r3, " w12 ", " a "\n"

/* One row by two columns at stride 2: r4, r5. r6 multiplier, r7 bias. */
#define DFQ_DSP_DEPTHWISE_STRIDE2(bits, store)                            \
    DFQ_DSP_CHANNEL_BEGIN                                                 \
    "ldrd r2, r3, [r0], #8\n"                                             \
    DFQ_DSP_TAPS_1("r4", "r7", "r8", "r11")                               \
    "ldrd r2, r3, [r0], #8\n"                                             \
    DFQ_DSP_TAPS_1("r4", "r4", "r9", "r12")                               \
    "ldrd r2, r3, [r0], #8\n"                                             \
    DFQ_DSP_TAPS_1("r4", "r4", "r10", "lr")                               \
    DFQ_DSP_TAPS_1("r5", "r7", "r8", "r11")                               \
    "ldrd r2, r3, [r0], #8\n"                                             \
    DFQ_DSP_TAPS_1("r5", "r5", "r9", "r12")                               \
    "ldrd r2, r3, [r0]\n"                                                 \
    DFQ_DSP_TAPS_1("r5", "r5", "r10", "lr")                               \
    "ldr r2, [sp, #4]\n"                                                  \
    "ldr r3, [sp, #12]\n"                                                 \
    "smmlar r4, r4, r6, r2\n"                                             \
    "smmlar r5, r5, r6, r2\n"                                             \
    "ssat r4, #" bits ", r4\n"                                            \
    "ssat r5, #" bits ", r5\n"                                            \
    store " r4, [r1]\n"                                                   \
    store " r5, [r1, r3]\n"                                               \
    "add r1, r1, r3, lsl #1\n"                                            \
    DFQ_DSP_BLOCK_END                                                     \
    "ldrd r2, r3, [r0], #8\n"                                             \
    DFQ_DSP_TAPS_1("r4", "r7", "r8", "r11")                               \
    "ldrd r2, r3, [r0], #8\n"                                             \
    DFQ_DSP_TAPS_1("r4", "r4", "r9", "r12")                               \
    "ldrd r2, r3, [r0]\n"                                                 \
    DFQ_DSP_TAPS_1("r4", "r4", "r10", "lr")                               \
    "ldr r2, [sp, #4]\n"                                                  \
    "ldr r3, [sp, #12]\n"                                                 \
    "smmlar r4, r4, r6, r2\n"                                             \
    "ssat r4, #" bits ", r4\n"                                            \
    store " r4, [r1]\n"                                                   \
    "add r1, r1, r3\n"                                                    \
    DFQ_DSP_CHANNEL_END
/* clang-format on */

DFQ_DSP_NAKED void dfq_dsp_depthwise_rows(const dfq_word_t *columns DFQ_UNUSED,
                                          const dfq_dsp_depthwise_args_t *args DFQ_UNUSED, int8_t *y DFQ_UNUSED)
{
    __asm__ volatile(DFQ_DSP_DEPTHWISE_ROWS("r2, r3", "8", "strb"));
}

DFQ_DSP_NAKED void dfq_dsp_depthwise_rows_swapped(const dfq_word_t *columns DFQ_UNUSED,
                                                  const dfq_dsp_depthwise_args_t *args DFQ_UNUSED, int8_t *y DFQ_UNUSED)
{
    __asm__ volatile(DFQ_DSP_DEPTHWISE_ROWS("r3, r2", "8", "strb"));
}

DFQ_DSP_NAKED void dfq_dsp_depthwise_stride2(const dfq_word_t *columns DFQ_UNUSED,
                                             const dfq_dsp_depthwise_args_t *args DFQ_UNUSED, int8_t *y DFQ_UNUSED)
{
    __asm__ volatile(DFQ_DSP_DEPTHWISE_STRIDE2("8", "strb"));
}

#else

DFQ_INLINE void dfq_dsp_store_saturated(int8_t *y, int32_t value, int32_t wide)
{
    if (wide != 0) {
        *(dfq_half_t *)(void *)y = (dfq_half_t)dfq_clamp(value, INT16_MIN, INT16_MAX);
    } else {
        *y = (int8_t)dfq_dsp_saturate(value);
    }
}

/* The outputs at one column, of two rows (or the first alone); `a` and `b` are where A and B lie in a column. */
DFQ_INLINE void dfq_dsp_depthwise_column(const dfq_word_t *columns, const dfq_dsp_depthwise_args_t *args,
                                         const int32_t *stream, int32_t a, int32_t b, bool two_rows, int32_t wide,
                                         int8_t *y)
{
    int32_t above = stream[4];
    int32_t below = stream[4];
    for (int32_t kx = 0; kx < 3; kx++) {
        const uint32_t w01 = dfq_dsp_widen_even((uint32_t)stream[kx]);
        const uint32_t w12 = dfq_dsp_widen_odd((uint32_t)stream[kx]);
        above = dfq_dsp_mac_bt(columns[2 * kx + b], w12, dfq_dsp_mac(columns[2 * kx + a], w01, above));
        below = dfq_dsp_mac(columns[2 * kx + b], w12, dfq_dsp_mac_tb(columns[2 * kx + a], w01, below));
    }
    if (two_rows) {
        dfq_dsp_store_saturated(y + args->row, dfq_dsp_scale(below, stream[3], args->zero_point), wide);
    }
    dfq_dsp_store_saturated(y, dfq_dsp_scale(above, stream[3], args->zero_point), wide);
}

DFQ_INLINE void dfq_dsp_depthwise_channels(const dfq_word_t *columns, const dfq_dsp_depthwise_args_t *args, int8_t *y,
                                           int32_t stride, int32_t a, bool two_rows, int32_t wide)
{
    const int32_t *stream = args->stream;
    for (; stream != args->stream_end; stream += DFQ_DSP_DEPTHWISE_WORDS) {
        for (int32_t x = args->odd; x < args->blocks_bytes / (8 * stride) + 2 * args->odd; x++) {
            dfq_dsp_depthwise_column(columns, args, stream, a, 1 - a, two_rows, wide, y);
            columns += 2 * stride;
            y += args->pixel;
        }
        columns += args->next_x / 4;
        y += args->next_y;
    }
}

DFQ_INLINE void dfq_dsp_depthwise_rows(const dfq_word_t *columns, const dfq_dsp_depthwise_args_t *args, int8_t *y)
{
    dfq_dsp_depthwise_channels(columns, args, y, 1, 0, true, 0);
}

DFQ_INLINE void dfq_dsp_depthwise_rows_swapped(const dfq_word_t *columns, const dfq_dsp_depthwise_args_t *args,
                                               int8_t *y)
{
    dfq_dsp_depthwise_channels(columns, args, y, 1, 1, true, 0);
}

DFQ_INLINE void dfq_dsp_depthwise_stride2(const dfq_word_t *columns, const dfq_dsp_depthwise_args_t *args, int8_t *y)
{
    dfq_dsp_depthwise_channels(columns, args, y, 2, 0, false, 0);
}

#endif

DFQ_INLINE dfq_dsp_row_t dfq_dsp_image_row(const dfq_depthwise3x3_s8s8_dsp_t *layer, const int8_t *x, int32_t iy,
                                           const uint32_t *padding)
{
    return dfq_dsp_row(x, iy, layer->in_height, layer->in_width, layer->channels, padding);
}

/* Both words of every padding column, of `channels` channels. */
DFQ_DSP_RARE void dfq_dsp_pad_columns(const dfq_depthwise3x3_s8s8_dsp_t *layer, dfq_word_t *to, int32_t columns,
                                      int32_t channels)
{
    const uint32_t pair = ((uint32_t)layer->pad_value & 0xFFFFu) * 0x10001u;
    const int32_t right = layer->pad_left + layer->in_width;
    for (int32_t c = 0; c < channels; c++, to += 2 * columns) {
        for (int32_t i = 0; i < 2 * dfq_min(layer->pad_left, columns); i++) {
            to[i] = pair;
        }
        for (int32_t i = 2 * right; i < 2 * columns; i++) {
            to[i] = pair;
        }
    }
}

/* Rows iy and iy + 1 of all channels as pairs, to place 0 or 1 of each column. */
DFQ_SHARED void dfq_dsp_pair_all(const dfq_depthwise3x3_s8s8_dsp_t *layer, const int8_t *x, int32_t iy, dfq_word_t *to)
{
    const uint32_t padding = dfq_dsp_lanes(layer->pad_value);
    const int32_t columns = layer->out_width + 2;
    const int32_t groups = layer->channels / 4;
    const dfq_dsp_row_t above = dfq_dsp_image_row(layer, x, iy, &padding);
    const dfq_dsp_row_t below = dfq_dsp_image_row(layer, x, iy + 1, &padding);
    to += 2 * layer->pad_left;
    if (groups != 0) {
        const dfq_dsp_pair_args_t args = dfq_dsp_pair_rows_args(above, below, layer->in_width, columns, groups);
        dfq_dsp_pair_rows(to, &args);
    }
    if (layer->channels % 4 != 0) {
        dfq_dsp_pair_rows_partial(to + 8 * columns * groups, 2 * columns, dfq_dsp_row_from(above, 4 * groups),
                                  dfq_dsp_row_from(below, 4 * groups), layer->in_width, layer->channels % 4);
    }
}

DFQ_KERNEL void dfq_depthwise3x3_s8s8_dsp(const dfq_depthwise3x3_s8s8_dsp_t *layer, const int8_t *x, int8_t *y,
                                          int8_t *scratch)
{
    const int32_t columns = layer->out_width + 2;
    const int32_t row = layer->out_width * layer->channels;
    dfq_word_t *pairs = (dfq_word_t *)(void *)scratch;
    dfq_dsp_depthwise_args_t args = dfq_dsp_depthwise_args(layer, 0, layer->channels, columns, 1);
    dfq_dsp_pad_columns(layer, pairs, columns, layer->channels);
    dfq_dsp_pair_all(layer, x, -layer->pad_top, pairs);
    for (int32_t oy = 0; oy < layer->out_height; oy += 2) {
        const int32_t swapped = oy / 2 % 2;
        dfq_dsp_pair_all(layer, x, oy + 2 - layer->pad_top, pairs + 1 - swapped);
        if (oy + 1 == layer->out_height) {
            args.row = 0; /* the second row goes to the same place, and the first over it */
        }
        if (swapped != 0) {
            dfq_dsp_depthwise_rows_swapped(pairs, &args, y);
        } else {
            dfq_dsp_depthwise_rows(pairs, &args, y);
        }
        dfq_dsp_clamp(&layer->bounds, y, dfq_min(2, layer->out_height - oy) * layer->out_width, layer->channels);
        y += 2 * row;
    }
}

/* Rows iy ... iy + 3 of channels c ... as A and B. */
DFQ_SHARED void dfq_dsp_pair_slice(const dfq_depthwise3x3_s8s8_dsp_t *layer, const int8_t *x, int32_t iy, int32_t c,
                                   dfq_word_t *to)
{
    const uint32_t padding = dfq_dsp_lanes(layer->pad_value);
    const int32_t columns = layer->out_width + 2;
    const int32_t count = dfq_min(layer->in_width, columns - layer->pad_left);
    const int32_t lanes = dfq_min(4, layer->channels - c);
    to += 2 * layer->pad_left;
    for (int32_t i = 0; i < 2 && count > 0; i++, to++, iy += 2) {
        const dfq_dsp_row_t above = dfq_dsp_row_from(dfq_dsp_image_row(layer, x, iy, &padding), c);
        const dfq_dsp_row_t below = dfq_dsp_row_from(dfq_dsp_image_row(layer, x, iy + 1, &padding), c);
        if (lanes == 4) {
            const dfq_dsp_pair_args_t args = dfq_dsp_pair_rows_args(above, below, count, columns, 1);
            dfq_dsp_pair_rows(to, &args);
        } else {
            dfq_dsp_pair_rows_partial(to, 2 * columns, above, below, count, lanes);
        }
    }
}

DFQ_KERNEL void dfq_depthwise3x3_slices_s8s8_dsp(const dfq_depthwise3x3_s8s8_dsp_t *layer, const int8_t *x, int8_t *y,
                                                 int8_t *scratch)
{
    const int32_t columns = layer->out_width + 2;
    const int32_t row = layer->out_width * layer->channels;
    dfq_word_t *pairs = (dfq_word_t *)(void *)scratch;
    dfq_dsp_pad_columns(layer, pairs, columns, 4);
    for (int32_t oy = 0; oy < layer->out_height; oy += 2) {
        for (int32_t c = 0; c < layer->channels; c += 4) {
            dfq_dsp_depthwise_args_t args =
                dfq_dsp_depthwise_args(layer, c, dfq_min(4, layer->channels - c), columns, 1);
            if (oy + 1 == layer->out_height) {
                args.row = 0; /* the second row goes to the same place, and the first over it */
            }
            dfq_dsp_pair_slice(layer, x, oy - layer->pad_top, c, pairs);
            dfq_dsp_depthwise_rows(pairs, &args, y + c);
        }
        dfq_dsp_clamp(&layer->bounds, y, dfq_min(2, layer->out_height - oy) * layer->out_width, layer->channels);
        y += 2 * row;
    }
}

/* Rows iy and iy + 1 of channels c ... as A, and iy + 2 as B. */
DFQ_DSP_RARE void dfq_dsp_pair_border(const dfq_depthwise3x3_s8s8_dsp_t *layer, const int8_t *x, int32_t iy, int32_t c,
                                      dfq_word_t *to, int32_t columns, int32_t count)
{
    const uint32_t padding = dfq_dsp_lanes(layer->pad_value);
    const int32_t lanes = dfq_min(4, layer->channels - c);
    const dfq_dsp_row_t above = dfq_dsp_row_from(dfq_dsp_image_row(layer, x, iy, &padding), c);
    const dfq_dsp_row_t below = dfq_dsp_row_from(dfq_dsp_image_row(layer, x, iy + 1, &padding), c);
    const dfq_dsp_row_t third = dfq_dsp_row_from(dfq_dsp_image_row(layer, x, iy + 2, &padding), c);
    if (lanes == 4) {
        const dfq_dsp_pair_args_t a = dfq_dsp_pair_rows_args(above, below, count, columns, 1);
        const dfq_dsp_pair_args_t b = dfq_dsp_pair_rows_args(third, third, count, columns, 1);
        dfq_dsp_pair_rows(to, &a);
        dfq_dsp_pair_rows(to + 1, &b);
    } else {
        dfq_dsp_pair_rows_partial(to, 2 * columns, above, below, count, lanes);
        dfq_dsp_pair_rows_partial(to + 1, 2 * columns, third, third, count, lanes);
    }
}

DFQ_KERNEL void dfq_depthwise3x3_stride2_s8s8_dsp(const dfq_depthwise3x3_s8s8_dsp_t *layer, const int8_t *x, int8_t *y,
                                                  int8_t *scratch)
{
    const int32_t columns = 2 * layer->out_width + 1;
    const int32_t count = dfq_min(layer->in_width, columns - layer->pad_left);
    const int32_t row = layer->in_width * layer->channels;
    dfq_word_t *pairs = (dfq_word_t *)(void *)scratch;
    dfq_word_t *first = pairs + 2 * layer->pad_left;
    dfq_dsp_pad_columns(layer, pairs, columns, 4);
    for (int32_t oy = 0; oy < layer->out_height; oy++) {
        const int32_t iy = 2 * oy - layer->pad_top;
        const bool inside = iy >= 0 && iy + 2 < layer->in_height;
        for (int32_t c = 0; c < layer->channels; c += 4) {
            const int32_t lanes = dfq_min(4, layer->channels - c);
            const dfq_dsp_depthwise_args_t args = dfq_dsp_depthwise_args(layer, c, lanes, columns, 2);
            if (inside && lanes == 4 && count > 0) {
                const dfq_dsp_three_args_t rows = { x + iy * row + c, row, layer->channels, 8 * columns, 8 * count };
                dfq_dsp_pair_three_rows(first, &rows);
            } else if (count > 0) { /* else all columns are padding */
                dfq_dsp_pair_border(layer, x, iy, c, first, columns, count);
            }
            dfq_dsp_depthwise_stride2(pairs, &args, y + c);
        }
        dfq_dsp_clamp(&layer->bounds, y, layer->out_width, layer->channels);
        y += layer->out_width * layer->channels;
    }
}

#endif
