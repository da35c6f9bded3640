/* SPDX-License-Identifier: MIT-0 */
/* Matrix products of int16 activations and weights of up to eight bits, on the Arm DSP extension.
 *
 * SMLAD multiplies pairs of int16, so activations are used as they are. Weights lie in flash in their own width and
 * are widened to int16 in scratch, a chunk of output channels at a time, before all pixels meet them. For each block
 * of four channels (the last one of a layer padded with zero channels), scratch then holds a stream of words:
 *
 *   4 words          biases
 *   2 depth words    for k = 0, 2, 4 ...: the pairs (c[k], c[k+1]) of channels 0, 1, 2 and 3; depth is even
 *   4 words          multipliers
 *
 * In flash a block is depth words of four int8, {c0[k], c1[k], c0[k+1], c1[k+1]} and the same of channels 2 and 3,
 * from which SXTB16 makes two pairs; or those bytes in fewer bits (dfq_unpack.h), a chunk at a time.
 * Sums wrap modulo 2^32: the compiler has proved that whole ones fit.
 */
#ifndef DFQ_DSP_WIDE_MATMUL_H
#define DFQ_DSP_WIDE_MATMUL_H

#include "../portable/dfq_unpack.h"
#include "../portable/dfq_wide_s16.h"
#include "dfq_dsp_matmul.h"
#include "dfq_dsp_wide_clamp.h"

typedef struct {
    const uint32_t *weight;
    const int32_t *factors; /* a block: four biases, four multipliers */
    int32_t bits;
    int32_t depth; /* inputs of a dot product, rounded up to an even number */
    int32_t out_channels;
    int32_t chunk; /* output channels that are in scratch together, a multiple of four */
    int32_t zero_point, pre_shift;
    int32_t in_wide, out_wide;
    int32_t narrow; /* 1: the bounds are not those of the type */
    dfq_wide_bounds_t bounds;
} dfq_dsp_wide_matmul_t;

/* Words of a block in scratch. */
DFQ_INLINE int32_t dfq_dsp_wide_block_words(int32_t depth)
{
    return 2 * depth + 8;
}

/* `count` words of four int8 as pairs of int16; `count` is even. */
DFQ_INLINE dfq_word_t *dfq_dsp_widen_weights(dfq_word_t *to, const dfq_word_t *from, int32_t count)
{
#if DFQ_DSP_ASM_BLOCKS
#define DFQ_DSP_WIDEN_WEIGHTS_2 \
    "ldm %1!, {r2, r3}\n\t"     \
    "sxtb16 r4, r2\n\t"         \
    "sxtb16 r5, r2, ror #8\n\t" \
    "sxtb16 r6, r3\n\t"         \
    "sxtb16 r8, r3, ror #8\n\t" \
    "stm %0!, {r4, r5, r6, r8}\n\t"
#define DFQ_DSP_WIDEN_WEIGHTS(text) \
    __asm__ volatile(text : "+r"(to), "+r"(from) : : "r2", "r3", "r4", "r5", "r6", "r8", "memory")
    DFQ_UNROLL(1)
    for (; count >= 4; count -= 4) {
        DFQ_DSP_WIDEN_WEIGHTS(DFQ_DSP_WIDEN_WEIGHTS_2 DFQ_DSP_WIDEN_WEIGHTS_2);
    }
    if (count > 0) {
        DFQ_DSP_WIDEN_WEIGHTS(DFQ_DSP_WIDEN_WEIGHTS_2);
    }
#else
    for (; count > 0; count--, from++, to += 2) {
        to[0] = dfq_dsp_widen_even(*from);
        to[1] = dfq_dsp_widen_odd(*from);
    }
#endif
    return to;
}

/* `blocks` blocks of bytes from `bytes` on to the stream at `to`. */
DFQ_SHARED void dfq_dsp_widen_blocks(const dfq_word_t *bytes, const int32_t *factors, int32_t depth, int32_t blocks,
                                     dfq_word_t *to)
{
    for (int32_t b = 0; b < blocks; b++, bytes += depth, factors += 8) {
        for (int32_t i = 0; i < 4; i++) {
            *to++ = (uint32_t)factors[i];
        }
        to = dfq_dsp_widen_weights(to, bytes, depth);
        for (int32_t i = 4; i < 8; i++) {
            *to++ = (uint32_t)factors[i];
        }
    }
}

/* A chunk of `blocks` blocks, the first of them block `first` of the layer, from flash to the stream at `to`; returns
 * the words after it. Bytes made of fewer bits wait in the last part of the stream itself: a block is read before the
 * stream, which grows twice as fast, gets there. They are whole groups, so 31 bytes after the stream may be written. */
DFQ_INLINE const uint32_t *dfq_dsp_wide_chunk(const dfq_dsp_wide_matmul_t *layer, const uint32_t *words, int32_t first,
                                              int32_t blocks, dfq_word_t *to)
{
    const int32_t *factors = layer->factors + 8 * first;
    if (layer->bits == 8) {
        dfq_dsp_widen_blocks(words, factors, layer->depth, blocks, to);
        return words + blocks * layer->depth;
    }
    dfq_word_t *bytes = to + blocks * dfq_dsp_wide_block_words(layer->depth) - blocks * layer->depth;
    words = dfq_unpack(words, layer->bits, 4 * blocks * layer->depth, (int8_t *)bytes);
    dfq_dsp_widen_blocks(bytes, factors, layer->depth, blocks, to);
    return words;
}

/* Clamp `count` values that a kernel just wrote, of channels `first` on, saturated to their type. */
DFQ_SHARED void dfq_dsp_wide_clamp_values(const dfq_dsp_wide_matmul_t *layer, int8_t *y, int32_t first, int32_t count)
{
    if (dfq_dsp_clamps_halves(&layer->bounds, layer->out_wide)) {
        dfq_dsp_clamp_halves(y, layer->bounds.lo, layer->bounds.hi, count);
        return;
    }
    for (int32_t c = 0; c < count; c++) {
        const int32_t value = dfq_load(y, layer->out_wide, c);
        dfq_store(y, layer->out_wide, c, dfq_wide_clamp(&layer->bounds, value, first + c));
    }
}

/* Bytes of code of the steps of the inner loops, as in dfq_dsp_matmul.h. */
#define DFQ_DSP_WIDE_STEP_2X4_BYTES 44
#define DFQ_DSP_WIDE_STEP_1X4_BYTES 72

#if DFQ_DSP_ASM

/* clang-format off */
/* Two pixels, two inputs: 8 multiply-accumulates of two in 11 instructions. */
#define DFQ_DSP_WIDE_STEP_2X4                                             \
    "ldrd r2, r3, [r0], #8\n"                                             \
    "ldrd r12, lr, [r1], #8\n"                                            \
    "smlad r4, r2, r12, r4\n"                                             \
    "smlad r8, r3, r12, r8\n"                                             \
    "smlad r5, r2, lr, r5\n"                                              \
    "smlad r9, r3, lr, r9\n"                                              \
    "ldrd r12, lr, [r1], #8\n"                                            \
    "smlad r6, r2, r12, r6\n"                                             \
    "smlad r10, r3, r12, r10\n"                                           \
    "smlad r7, r2, lr, r7\n"                                              \
    "smlad r11, r3, lr, r11\n"

/* One pixel, four inputs, weights of a byte: 8 multiply-accumulates of two in 18 instructions. */
#define DFQ_DSP_WIDE_STEP_1X4                                             \
    "ldrd r2, r3, [r0], #8\n"                                             \
    "ldm r1!, {r8-r11}\n"                                                 \
    DFQ_DSP_PLAIN_QUARTER("r2", "r8", "r4", "r5")                         \
    DFQ_DSP_PLAIN_QUARTER("r2", "r9", "r6", "r7")                         \
    DFQ_DSP_PLAIN_QUARTER("r3", "r10", "r4", "r5")                        \
    DFQ_DSP_PLAIN_QUARTER("r3", "r11", "r6", "r7")

#define DFQ_DSP_WIDE_SCALE(a, m, bits)                                    \
    "smmlar " a ", " a ", " m ", r0\n"                                    \
    "ssat " a ", #" bits ", " a "\n"
#define DFQ_DSP_WIDE_SHIFT_4(a, b, c, d)                                  \
    "lsl " a ", " a ", r12\n"                                             \
    "lsl " b ", " b ", r12\n"                                             \
    "lsl " c ", " c ", r12\n"                                             \
    "lsl " d ", " d ", r12\n"
#define DFQ_DSP_WIDE_SHIFT_2X4                                            \
    "ldr.w r12, [sp, #" DFQ_DSP_LAST "]\n"                                \
    DFQ_DSP_WIDE_SHIFT_4("r4", "r5", "r6", "r7")                          \
    DFQ_DSP_WIDE_SHIFT_4("r8", "r9", "r10", "r11")
#define DFQ_DSP_WIDE_SHIFT_1X4                                            \
    "ldr.w r12, [sp, #" DFQ_DSP_LAST "]\n"                                \
    DFQ_DSP_WIDE_SHIFT_4("r4", "r5", "r6", "r7")
#define DFQ_DSP_WIDE_PACK(a, b, c, d)                                     \
    "pkhbt " a ", " a ", " b ", lsl #16\n"                                \
    "pkhbt " c ", " c ", " d ", lsl #16\n"

/* Store a block of one row of outputs at y: two words of int16, or one of int8. */
#define DFQ_DSP_WIDE_STORE_16(y, a, c)                                    \
    "str " a ", [" y "], #4\n"                                            \
    "str " c ", [" y "], #4\n"
/* One to three outputs, as r5 says; `label` follows. */
#define DFQ_DSP_WIDE_TAIL_16(y, a, c, label)                              \
    "strh " a ", [" y "]\n"                                               \
    "cmp r5, #2\n"                                                        \
    "blt " label "\n"                                                     \
    "lsr " a ", " a ", #16\n"                                             \
    "strh " a ", [" y ", #2]\n"                                           \
    "beq " label "\n"                                                     \
    "strh " c ", [" y ", #4]\n"
#define DFQ_DSP_WIDE_STORE_8(y, a, c) "str " a ", [" y "], #4\n"
#define DFQ_DSP_WIDE_TAIL_8(y, a, c, label)                               \
    "strb " a ", [" y "]\n"                                               \
    "cmp r5, #2\n"                                                        \
    "blt " label "\n"                                                     \
    "lsr " a ", " a ", #8\n"                                              \
    "strb " a ", [" y ", #1]\n"                                           \
    "beq " label "\n"                                                     \
    "lsr " a ", " a ", #8\n"                                              \
    "strb " a ", [" y ", #2]\n"

#define DFQ_DSP_WIDE_MATMUL_2X4(shift, bits, pack, store, tail)           \
    DFQ_DSP_PROLOGUE                                                      \
    "1:\n"                                                                \
    "ldm r1!, {r4-r7}\n"                                                  \
    "mov r8, r4\n"                                                        \
    "mov r9, r5\n"                                                        \
    "mov r10, r6\n"                                                       \
    "mov r11, r7\n"                                                       \
    DFQ_DSP_ENTER                                                         \
    "2:\n"                                                                \
    DFQ_DSP_X8(DFQ_DSP_WIDE_STEP_2X4)                                     \
    DFQ_DSP_CHECK_BYTES(8, DFQ_DSP_WIDE_STEP_2X4_BYTES)                   \
    DFQ_DSP_REPEAT                                                        \
    shift                                                                 \
    "ldr.w r0, [sp, #" DFQ_DSP_ZERO "]\n"                                 \
    "ldm r1!, {r2, r3, r12, lr}\n"                                        \
    DFQ_DSP_WIDE_SCALE("r4", "r2", bits)                                  \
    DFQ_DSP_WIDE_SCALE("r8", "r2", bits)                                  \
    DFQ_DSP_WIDE_SCALE("r5", "r3", bits)                                  \
    DFQ_DSP_WIDE_SCALE("r9", "r3", bits)                                  \
    DFQ_DSP_WIDE_SCALE("r6", "r12", bits)                                 \
    DFQ_DSP_WIDE_SCALE("r10", "r12", bits)                                \
    DFQ_DSP_WIDE_SCALE("r7", "lr", bits)                                  \
    DFQ_DSP_WIDE_SCALE("r11", "lr", bits)                                 \
    pack("r4", "r5", "r6", "r7")                                          \
    pack("r8", "r9", "r10", "r11")                                        \
    "ldr.w r12, [sp, #" DFQ_DSP_FULL_END "]\n"                            \
    "ldrd r2, r3, [sp, #" DFQ_DSP_Y0 "]\n"                                \
    "ldr.w r0, [sp, #" DFQ_DSP_X "]\n"                                    \
    "cmp r1, r12\n"                                                       \
    "bhi 3f\n"                                                            \
    store("r2", "r4", "r6")                                               \
    store("r3", "r8", "r10")                                              \
    "strd r2, r3, [sp, #" DFQ_DSP_Y0 "]\n"                                \
    "bne 1b\n"                                                            \
    "ldr r4, [sp, #" DFQ_DSP_TAIL "]\n"                                   \
    "cmp r4, #0\n"                                                        \
    "bne 1b\n"                                                            \
    "b 4f\n"                                                              \
    "3:\n"                                                                \
    "ldr r5, [sp, #" DFQ_DSP_TAIL "]\n"                                   \
    tail("r2", "r4", "r6", "5f")                                          \
    "5:\n"                                                                \
    tail("r3", "r8", "r10", "4f")                                         \
    "4:\n"                                                                \
    "add sp, sp, #36\n"                                                   \
    "pop {r4-r11, pc}\n"

#define DFQ_DSP_WIDE_MATMUL_1X4(bits, pack, store, tail)                  \
    DFQ_DSP_PROLOGUE                                                      \
    "1:\n"                                                                \
    "ldm r1!, {r4-r7}\n"                                                  \
    DFQ_DSP_ENTER                                                         \
    "2:\n"                                                                \
    DFQ_DSP_X8(DFQ_DSP_WIDE_STEP_1X4)                                     \
    DFQ_DSP_CHECK_BYTES(8, DFQ_DSP_WIDE_STEP_1X4_BYTES)                   \
    DFQ_DSP_REPEAT                                                        \
    DFQ_DSP_WIDE_SHIFT_1X4                                                \
    "ldr.w r0, [sp, #" DFQ_DSP_ZERO "]\n"                                 \
    "ldm r1!, {r8-r11}\n"                                                 \
    DFQ_DSP_WIDE_SCALE("r4", "r8", bits)                                  \
    DFQ_DSP_WIDE_SCALE("r5", "r9", bits)                                  \
    DFQ_DSP_WIDE_SCALE("r6", "r10", bits)                                 \
    DFQ_DSP_WIDE_SCALE("r7", "r11", bits)                                 \
    pack("r4", "r5", "r6", "r7")                                          \
    "ldr.w r12, [sp, #" DFQ_DSP_FULL_END "]\n"                            \
    "ldr.w r2, [sp, #" DFQ_DSP_Y0 "]\n"                                   \
    "ldr.w r0, [sp, #" DFQ_DSP_X "]\n"                                    \
    "cmp r1, r12\n"                                                       \
    "bhi 3f\n"                                                            \
    store("r2", "r4", "r6")                                               \
    "str.w r2, [sp, #" DFQ_DSP_Y0 "]\n"                                   \
    "bne 1b\n"                                                            \
    "ldr r4, [sp, #" DFQ_DSP_TAIL "]\n"                                   \
    "cmp r4, #0\n"                                                        \
    "bne 1b\n"                                                            \
    "b 4f\n"                                                              \
    "3:\n"                                                                \
    "ldr r5, [sp, #" DFQ_DSP_TAIL "]\n"                                   \
    tail("r2", "r4", "r6", "4f")                                          \
    "4:\n"                                                                \
    "add sp, sp, #36\n"                                                   \
    "pop {r4-r11, pc}\n"
/* clang-format on */

#define DFQ_DSP_WIDE_2X4(name, shift, bits, pack, store, tail)                                                  \
    DFQ_DSP_NAKED void name(const dfq_word_t *columns DFQ_UNUSED, const dfq_dsp_matmul_args_t *args DFQ_UNUSED, \
                            int8_t *y0 DFQ_UNUSED, int8_t *y1 DFQ_UNUSED)                                       \
    {                                                                                                           \
        __asm__ volatile(DFQ_DSP_WIDE_MATMUL_2X4(shift, bits, pack, store, tail));                              \
    }
#define DFQ_DSP_WIDE_1X4(name, bits, pack, store, tail)                                               \
    DFQ_DSP_NAKED void name(const int8_t *x DFQ_UNUSED, const dfq_dsp_matmul_args_t *args DFQ_UNUSED, \
                            int8_t *y DFQ_UNUSED)                                                     \
    {                                                                                                 \
        __asm__ volatile(DFQ_DSP_WIDE_MATMUL_1X4(bits, pack, store, tail));                           \
    }

DFQ_DSP_WIDE_2X4(dfq_dsp_wide_2x4_16, "", "16", DFQ_DSP_WIDE_PACK, DFQ_DSP_WIDE_STORE_16, DFQ_DSP_WIDE_TAIL_16)
DFQ_DSP_WIDE_2X4(dfq_dsp_wide_2x4_8, "", "8", DFQ_DSP_PACK, DFQ_DSP_WIDE_STORE_8, DFQ_DSP_WIDE_TAIL_8)
DFQ_DSP_WIDE_2X4(dfq_dsp_wide_2x4_16_shifted, DFQ_DSP_WIDE_SHIFT_2X4, "16", DFQ_DSP_WIDE_PACK, DFQ_DSP_WIDE_STORE_16,
                 DFQ_DSP_WIDE_TAIL_16)
DFQ_DSP_WIDE_2X4(dfq_dsp_wide_2x4_8_shifted, DFQ_DSP_WIDE_SHIFT_2X4, "8", DFQ_DSP_PACK, DFQ_DSP_WIDE_STORE_8,
                 DFQ_DSP_WIDE_TAIL_8)
DFQ_DSP_WIDE_1X4(dfq_dsp_wide_1x4_16, "16", DFQ_DSP_WIDE_PACK, DFQ_DSP_WIDE_STORE_16, DFQ_DSP_WIDE_TAIL_16)
DFQ_DSP_WIDE_1X4(dfq_dsp_wide_1x4_8, "8", DFQ_DSP_PACK, DFQ_DSP_WIDE_STORE_8, DFQ_DSP_WIDE_TAIL_8)

#else /* the same in C */

/* Scale the sums of a block and store the first `count`. */
DFQ_INLINE void dfq_dsp_wide_finish(const dfq_dsp_matmul_args_t *args, const int32_t *acc, const int32_t *multipliers,
                                    int32_t count, int32_t wide, int8_t *y)
{
    for (int32_t c = 0; c < count; c++) {
        const int32_t shifted = acc[c] * (int32_t)((uint32_t)1 << args->last);
        const int32_t value = dfq_dsp_scale(shifted, multipliers[c], args->zero_point);
        dfq_store(y, wide, c, wide ? dfq_clamp(value, INT16_MIN, INT16_MAX) : dfq_dsp_saturate(value));
    }
}

/* All blocks of one pixel. Its pairs lie `step` words apart; weights are pairs of int16, or bytes. */
DFQ_INLINE void dfq_dsp_wide_pixel(const dfq_word_t *x, int32_t step, const dfq_dsp_matmul_args_t *args, bool bytes,
                                   int32_t wide, int8_t *y)
{
    const int32_t *stream = args->stream;
    for (;;) {
        const int32_t count = stream < args->full_end ? 4 : args->tail;
        if (count == 0) {
            return;
        }
        int32_t acc[4];
        for (int32_t c = 0; c < 4; c++) {
            acc[c] = *stream++;
        }
        for (const dfq_word_t *pair = x; pair < (const dfq_word_t *)args->x_end; pair += step) {
            for (int32_t c = 0; c < 4; c++) {
                const uint32_t word = (uint32_t)stream[bytes ? c / 2 : c];
                const uint32_t even = dfq_dsp_widen_even(word);
                acc[c] = dfq_dsp_mac(*pair, !bytes ? word : c % 2 == 0 ? even : dfq_dsp_widen_odd(word), acc[c]);
            }
            stream += bytes ? 2 : 4;
        }
        dfq_dsp_wide_finish(args, acc, stream, count, wide, y);
        if (count < 4) {
            return;
        }
        stream += 4;
        y += wide ? 8 : 4;
    }
}

#define DFQ_DSP_WIDE_2X4(name, wide)                                                                           \
    DFQ_INLINE void name(const dfq_word_t *columns, const dfq_dsp_matmul_args_t *args, int8_t *y0, int8_t *y1) \
    {                                                                                                          \
        dfq_dsp_wide_pixel(columns, 2, args, false, wide, y0);                                                 \
        dfq_dsp_wide_pixel(columns + 1, 2, args, false, wide, y1);                                             \
    }
#define DFQ_DSP_WIDE_1X4(name, wide)                                                     \
    DFQ_INLINE void name(const int8_t *x, const dfq_dsp_matmul_args_t *args, int8_t *y)  \
    {                                                                                    \
        dfq_dsp_wide_pixel((const dfq_word_t *)(const void *)x, 1, args, true, wide, y); \
    }

DFQ_DSP_WIDE_2X4(dfq_dsp_wide_2x4_16, 1)
DFQ_DSP_WIDE_2X4(dfq_dsp_wide_2x4_8, 0)
DFQ_DSP_WIDE_2X4(dfq_dsp_wide_2x4_16_shifted, 1)
DFQ_DSP_WIDE_2X4(dfq_dsp_wide_2x4_8_shifted, 0)
DFQ_DSP_WIDE_1X4(dfq_dsp_wide_1x4_16, 1)
DFQ_DSP_WIDE_1X4(dfq_dsp_wide_1x4_8, 0)

#endif

/* Arguments for `steps` steps over activations that end at `x_end`, and `count` channels of `words` words a block. */
DFQ_INLINE dfq_dsp_matmul_args_t dfq_dsp_wide_args(const dfq_dsp_wide_matmul_t *layer, const void *x_end, int32_t steps,
                                                   int32_t step_bytes, const int32_t *stream, int32_t count,
                                                   int32_t words)
{
    const int32_t skipped = (DFQ_DSP_UNROLL - steps % DFQ_DSP_UNROLL) % DFQ_DSP_UNROLL;
    const dfq_dsp_matmul_args_t args = {
        .x_end = x_end,
        .entry = skipped * step_bytes + 1,
        .zero_point = layer->zero_point,
        .last = layer->pre_shift,
        .full_end = stream + count / 4 * words,
        .tail = count % 4,
        .stream = stream,
    };
    return args;
}

/* The channels of a chunk of two pixels, whose pairs are interleaved in `columns`. `y1` may be `y0`. */
DFQ_INLINE void dfq_dsp_wide_multiply(const dfq_dsp_wide_matmul_t *layer, const dfq_word_t *columns,
                                      const dfq_dsp_matmul_args_t *args, int32_t first, int32_t count, int8_t *y0,
                                      int8_t *y1)
{
    if (layer->out_wide) {
        if (layer->pre_shift != 0) {
            dfq_dsp_wide_2x4_16_shifted(columns, args, y0, y1);
        } else {
            dfq_dsp_wide_2x4_16(columns, args, y0, y1);
        }
    } else if (layer->pre_shift != 0) {
        dfq_dsp_wide_2x4_8_shifted(columns, args, y0, y1);
    } else {
        dfq_dsp_wide_2x4_8(columns, args, y0, y1);
    }
    if (layer->narrow) {
        dfq_dsp_wide_clamp_values(layer, y0, first, count);
        if (y1 != y0) {
            dfq_dsp_wide_clamp_values(layer, y1, first, count);
        }
    }
}

#endif
