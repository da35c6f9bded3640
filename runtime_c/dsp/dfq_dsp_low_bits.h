/* SPDX-License-Identifier: MIT-0 */
/* Matrix products with packed 4-bit and 2-bit weights, four output channels at a time, on the Arm DSP extension:
 * what both widths share. The products are in dfq_dsp_matmul_4bit.h and dfq_dsp_matmul_2bit.h.
 *
 * Activations lie in `columns` as in dfq_dsp_matmul.h: int16 pairs (x[k], x[k+2]), (x[k+1], x[k+3]) ... of one pixel,
 * or of two, interleaved. Weights are one stream of words. The compiler proves the bounds under which sums are exact
 * from the real weights; elsewhere it unpacks (dfq_convolutions_s8sn.h).
 */
#ifndef DFQ_DSP_LOW_BITS_H
#define DFQ_DSP_LOW_BITS_H

#include "dfq_dsp_matmul.h"

#define DFQ_DSP_HEADER 4 /* words before the columns: offsets of the first sums */

/* Bytes of code of the step the inner loop is entered at: four inputs at 4 bits, eight at 2. Checked too. */
#define DFQ_DSP_STEP_2X4_4_BYTES 104
#define DFQ_DSP_STEP_1X4_4_BYTES 64
#define DFQ_DSP_UNIT_2X4_2_BYTES 116
#define DFQ_DSP_UNIT_1X4_2_BYTES 72

#if DFQ_DSP_ASM

/* clang-format off */
#define DFQ_DSP_X4(text) text text text text

/* Store the words a and b of four channels, go on with the next block at label 1, and leave. */
#define DFQ_DSP_LOW_STORE_2(a, b, frame, y0, x, full_end, tail)           \
    "ldr.w r12, [sp, #" full_end "]\n"                                    \
    "ldrd r2, r3, [sp, #" y0 "]\n"                                        \
    "ldr.w r0, [sp, #" x "]\n"                                            \
    "cmp r1, r12\n"                                                       \
    "bhi 3f\n"                                                            \
    "str " a ", [r2], #4\n"                                               \
    "str " b ", [r3], #4\n"                                               \
    "strd r2, r3, [sp, #" y0 "]\n"                                        \
    "bne 1b\n"                                                            \
    "ldr r4, [sp, #" tail "]\n"                                           \
    "cmp r4, #0\n"                                                        \
    "bne 1b\n"                                                            \
    "b 4f\n"                                                              \
    "3:\n"                                                                \
    "ldr r5, [sp, #" tail "]\n"                                           \
    "5:\n"                                                                \
    "strb " a ", [r2], #1\n"                                              \
    "strb " b ", [r3], #1\n"                                              \
    "lsr " a ", " a ", #8\n"                                              \
    "lsr " b ", " b ", #8\n"                                              \
    "subs r5, r5, #1\n"                                                   \
    "bne 5b\n"                                                            \
    "4:\n"                                                                \
    "add sp, sp, #" frame "\n"                                            \
    "pop {r4-r11, pc}\n"
#define DFQ_DSP_LOW_STORE_1(a)                                            \
    "ldr.w r12, [sp, #" DFQ_DSP_FULL_END "]\n"                            \
    "ldr.w r2, [sp, #" DFQ_DSP_Y0 "]\n"                                   \
    "ldr.w r0, [sp, #" DFQ_DSP_X "]\n"                                    \
    "cmp r1, r12\n"                                                       \
    "bhi 3f\n"                                                            \
    "str " a ", [r2], #4\n"                                               \
    "str.w r2, [sp, #" DFQ_DSP_Y0 "]\n"                                   \
    "bne 1b\n"                                                            \
    "ldr r5, [sp, #" DFQ_DSP_TAIL "]\n"                                   \
    "cmp r5, #0\n"                                                        \
    "bne 1b\n"                                                            \
    "b 4f\n"                                                              \
    "3:\n"                                                                \
    "ldr r5, [sp, #" DFQ_DSP_TAIL "]\n"                                   \
    "5:\n"                                                                \
    "strb " a ", [r2], #1\n"                                              \
    "lsr " a ", " a ", #8\n"                                              \
    "subs r5, r5, #1\n"                                                   \
    "bne 5b\n"                                                            \
    "4:\n"                                                                \
    "add sp, sp, #36\n"                                                   \
    "pop {r4-r11, pc}\n"

/* clang-format on */

#else /* the same in C */

typedef uint32_t dfq_dsp_block_t(const dfq_dsp_matmul_args_t *args, const dfq_word_t *columns, const int32_t *stream,
                                 int32_t pixels, int32_t index, int32_t depth);

/* All blocks of `pixels` pixels, whose outputs go to y0 and y1. */
DFQ_INLINE void dfq_dsp_all_blocks(dfq_dsp_block_t *block, int32_t block_words, const dfq_word_t *columns,
                                   const dfq_dsp_matmul_args_t *args, int32_t pixels, int32_t depth, int8_t *y0,
                                   int8_t *y1)
{
    for (const int32_t *stream = args->stream;; stream += block_words, y0 += 4, y1 += 4) {
        const int32_t count = stream < args->full_end ? 4 : args->tail;
        if (count == 0) {
            return;
        }
        dfq_dsp_store_lanes(y0, block(args, columns, stream, pixels, 0, depth), count);
        if (pixels == 2) {
            dfq_dsp_store_lanes(y1, block(args, columns, stream, pixels, 1, depth), count);
        }
        if (count < 4) {
            return;
        }
    }
}

DFQ_INLINE int32_t dfq_dsp_depth_of(const dfq_word_t *columns, const dfq_dsp_matmul_args_t *args, int32_t pixels)
{
    return (int32_t)((const dfq_word_t *)args->x_end - columns) * 2 / pixels;
}

#endif

/* `pixels` pixels of activations in `columns`, weights of `bits` bits. */
DFQ_INLINE dfq_dsp_matmul_args_t dfq_dsp_low_args(const dfq_dsp_matmul_t *layer, const dfq_word_t *columns,
                                                  int32_t bits, int32_t pixels)
{
    const int32_t step_4 = pixels == 2 ? DFQ_DSP_STEP_2X4_4_BYTES : DFQ_DSP_STEP_1X4_4_BYTES;
    const int32_t step_2 = pixels == 2 ? DFQ_DSP_UNIT_2X4_2_BYTES : DFQ_DSP_UNIT_1X4_2_BYTES;
    const int32_t skipped = bits == 4 ? (4 - layer->depth / 4 % 4) % 4 : layer->depth / 8 % 2;
    const dfq_dsp_matmul_args_t args = {
        .x_end = columns + layer->depth / 2 * pixels,
        .entry = skipped * (bits == 4 ? step_4 : step_2) + 1,
        .zero_point = bits == 4 ? 16 * layer->zero_point + 8 : layer->zero_point,
        .last = 4096 * layer->zero_point + 2048,
        .full_end = layer->stream + layer->out_channels / 4 * (layer->depth * bits / 8 + 8),
        .tail = layer->out_channels % 4,
        .stream = layer->stream,
    };
    return args;
}

#endif
