/* SPDX-License-Identifier: MIT-0 */
/* Matrix products with 4-bit weights on the Arm DSP extension; see dfq_dsp_low_bits.h.
 *
 * `pair` below is two neighbouring output channels. A byte holds a weight a of the first pair in its upper and b of
 * the second in its lower nibble: V = 16 a + b + 8; one AND gives H = 16 a. Both are used as they are: with the
 * activations turned once into p = 16 x' and q = x - 16 x' (x' the second pair's),
 *     q H + p V = 16 (x a + x' b) + 128 x'.
 * The even channel of a pair has a + 8 for a, so that no byte is negative, hence 128 x more. These offsets do not
 * depend on the channel: `dfq_dsp_split_4` sums them while it makes p and q. Sums are 16 times too large, so
 * requantization shifts four bits more. Else as the paired form of dfq_dsp_matmul.h, with 16 |S1| < 2^23. A block:
 *   4 words          first values: 16 b0, 16 (256 b1 + b0), 16 b2, 16 (256 b3 + b2)
 *   depth / 2 words  V of channels 0 and 1, V of channels 2 and 3
 *   4 words          multipliers
 */
#ifndef DFQ_DSP_MATMUL_4BIT_H
#define DFQ_DSP_MATMUL_4BIT_H

#include "dfq_dsp_low_bits.h"

#define DFQ_DSP_ODD_SHIFT 12
#define DFQ_DSP_EVEN_SHIFT 4

/* Put the offset, and p and q, before the activations in `columns`: `pixels` (1 or 2) pixels, interleaved. */
DFQ_NOINLINE void dfq_dsp_split_4(dfq_word_t *columns, int32_t depth, int32_t pixels)
{
    const uint32_t ones = 0x00010001u;
    const uint32_t mask = 0xFFF0FFF0u;
    int32_t first[2] = { 0, 0 }, second[2] = { 0, 0 };
    dfq_word_t *word = columns;
    if (pixels == 2) {
#if DFQ_DSP_ASM_BLOCKS
#define DFQ_DSP_SPLIT_4                   \
    "ldm %[word], {r4, r5, r6, r8}\n\t"   \
    "smlad %[e0], r4, %[ones], %[e0]\n\t" \
    "smlad %[e1], r5, %[ones], %[e1]\n\t" \
    "smlad %[o0], r6, %[ones], %[o0]\n\t" \
    "smlad %[o1], r8, %[ones], %[o1]\n\t" \
    "and r6, %[mask], r6, lsl #4\n\t"     \
    "and r8, %[mask], r8, lsl #4\n\t"     \
    "ssub16 r4, r4, r6\n\t"               \
    "ssub16 r5, r5, r8\n\t"               \
    "stm %[word]!, {r4, r5, r6, r8}\n\t"
#define DFQ_DSP_SPLIT(text)                                                                                       \
    __asm__ volatile(                                                                                             \
        text                                                                                                      \
        : [word] "+r"(word), [e0] "+r"(first[0]), [e1] "+r"(first[1]), [o0] "+r"(second[0]), [o1] "+r"(second[1]) \
        : [ones] "r"(ones), [mask] "r"(mask)                                                                      \
        : "r4", "r5", "r6", "r8", "memory")
        int32_t count = depth;
        DFQ_UNROLL(1)
        for (; count >= 16; count -= 16) {
            DFQ_DSP_SPLIT(DFQ_DSP_SPLIT_4 DFQ_DSP_SPLIT_4 DFQ_DSP_SPLIT_4 DFQ_DSP_SPLIT_4);
        }
        DFQ_UNROLL(1)
        for (; count > 0; count -= 4) {
            DFQ_DSP_SPLIT(DFQ_DSP_SPLIT_4);
        }
        word = columns + depth;
#endif
    }
    for (; word != columns + depth / 2 * pixels; word += 2 * pixels) {
        for (int32_t i = 0; i < pixels; i++) {
            first[i] = dfq_dsp_mac(word[i], ones, first[i]);
            second[i] = dfq_dsp_mac(word[pixels + i], ones, second[i]);
            const uint32_t p = word[pixels + i] << 4 & mask;
            word[pixels + i] = p;
            word[i] = dfq_dsp_subtract_halves(word[i], p);
        }
    }
    for (int32_t i = 0; i < pixels; i++) {
        const uint32_t even = 128u * (uint32_t)(first[i] + second[i]);
        columns[2 * i - 2 * pixels] = even;
        columns[2 * i + 1 - 2 * pixels] = even + 32768u * (uint32_t)second[i];
    }
}

#if DFQ_DSP_ASM

/* clang-format off */
/* Four inputs of two pixels: 26 instructions, where int8 weights take 24. */
#define DFQ_DSP_LOW_HALF                                                  \
    "smlad r5, r2, r12, r5\n"                                             \
    "smlad r9, r3, r12, r9\n"                                             \
    "smlad r7, r2, lr, r7\n"                                              \
    "smlad r11, r3, lr, r11\n"                                            \
    "uxtb16 r12, r12\n"                                                   \
    "uxtb16 lr, lr\n"                                                     \
    "smlad r4, r2, r12, r4\n"                                             \
    "smlad r8, r3, r12, r8\n"                                             \
    "smlad r6, r2, lr, r6\n"                                              \
    "smlad r10, r3, lr, r10\n"
#define DFQ_DSP_STEP_2X4_4                                                \
    "ldrd r2, r3, [r0], #8\n"                                             \
    "ldrd r12, lr, [r1]\n"                                                \
    "and r12, r12, #0xF0F0F0F0\n"                                         \
    "and lr, lr, #0xF0F0F0F0\n"                                           \
    DFQ_DSP_LOW_HALF                                                      \
    "ldrd r2, r3, [r0], #8\n"                                             \
    "ldrd r12, lr, [r1], #8\n"                                            \
    DFQ_DSP_LOW_HALF

DFQ_DSP_NAKED void dfq_dsp_matmul_2x4_4(const dfq_word_t *columns DFQ_UNUSED, const dfq_dsp_matmul_args_t *args DFQ_UNUSED,
                                        int8_t *y0 DFQ_UNUSED, int8_t *y1 DFQ_UNUSED)
{
    __asm__ volatile(
        DFQ_DSP_PROLOGUE
        "1:\n"
        "ldm r1!, {r4-r7}\n"
        "ldrd r2, r3, [r0, #-8]\n"
        "sub r8, r4, r2\n"
        "sub r9, r5, r3\n"
        "sub r10, r6, r2\n"
        "sub r11, r7, r3\n"
        "ldrd r2, r3, [r0, #-16]\n"
        "sub r4, r4, r2\n"
        "sub r5, r5, r3\n"
        "sub r6, r6, r2\n"
        "sub r7, r7, r3\n"
        DFQ_DSP_ENTER
        "2:\n"
        DFQ_DSP_X4(DFQ_DSP_STEP_2X4_4)
        DFQ_DSP_CHECK_BYTES(4, DFQ_DSP_STEP_2X4_4_BYTES)
        DFQ_DSP_REPEAT
        "sub r5, r5, r4\n"
        "sub r7, r7, r6\n"
        "sub r9, r9, r8\n"
        "sub r11, r11, r10\n"
        "ldr.w r0, [sp, #" DFQ_DSP_ZERO "]\n"
        "ldm r1!, {r2, r3, r12, lr}\n"
        "smmla r4, r4, r2, r0\n"
        "smmla r8, r8, r2, r0\n"
        "smmla r6, r6, r12, r0\n"
        "smmla r10, r10, r12, r0\n"
        "ldr.w r0, [sp, #" DFQ_DSP_LAST "]\n"
        "smmla r5, r5, r3, r0\n"
        "smmla r9, r9, r3, r0\n"
        "smmla r7, r7, lr, r0\n"
        "smmla r11, r11, lr, r0\n"
        "ssat r4, #8, r4, asr #4\n"
        "ssat r5, #8, r5, asr #12\n"
        "ssat r6, #8, r6, asr #4\n"
        "ssat r7, #8, r7, asr #12\n"
        "ssat r8, #8, r8, asr #4\n"
        "ssat r9, #8, r9, asr #12\n"
        "ssat r10, #8, r10, asr #4\n"
        "ssat r11, #8, r11, asr #12\n"
        DFQ_DSP_PACK("r4", "r5", "r6", "r7")
        DFQ_DSP_PACK("r8", "r9", "r10", "r11")
        DFQ_DSP_LOW_STORE_2("r4", "r8", "36", DFQ_DSP_Y0, DFQ_DSP_X, DFQ_DSP_FULL_END, DFQ_DSP_TAIL));
}

#define DFQ_DSP_STEP_1X4_4                                                \
    "ldrd r2, r3, [r0], #8\n"                                             \
    "ldrd r8, r9, [r1], #8\n"                                             \
    "and r10, r8, #0xF0F0F0F0\n"                                          \
    "and r11, r9, #0xF0F0F0F0\n"                                          \
    "smlad r5, r2, r10, r5\n"                                             \
    "smlad r7, r2, r11, r7\n"                                             \
    "uxtb16 r10, r10\n"                                                   \
    "uxtb16 r11, r11\n"                                                   \
    "smlad r4, r2, r10, r4\n"                                             \
    "smlad r6, r2, r11, r6\n"                                             \
    "smlad r5, r3, r8, r5\n"                                              \
    "smlad r7, r3, r9, r7\n"                                              \
    "uxtb16 r8, r8\n"                                                     \
    "uxtb16 r9, r9\n"                                                     \
    "smlad r4, r3, r8, r4\n"                                              \
    "smlad r6, r3, r9, r6\n"

DFQ_DSP_NAKED void dfq_dsp_matmul_1x4_4(const dfq_word_t *columns DFQ_UNUSED, const dfq_dsp_matmul_args_t *args DFQ_UNUSED,
                                        int8_t *y DFQ_UNUSED)
{
    __asm__ volatile(
        DFQ_DSP_PROLOGUE
        "1:\n"
        "ldm r1!, {r4-r7}\n"
        "ldrd r2, r3, [r0, #-8]\n"
        "sub r4, r4, r2\n"
        "sub r5, r5, r3\n"
        "sub r6, r6, r2\n"
        "sub r7, r7, r3\n"
        DFQ_DSP_ENTER
        "2:\n"
        DFQ_DSP_X4(DFQ_DSP_STEP_1X4_4)
        DFQ_DSP_CHECK_BYTES(4, DFQ_DSP_STEP_1X4_4_BYTES)
        DFQ_DSP_REPEAT
        "ldm r1!, {r8-r11}\n"
        "ldr.w r2, [sp, #" DFQ_DSP_ZERO "]\n"
        "ldr.w r3, [sp, #" DFQ_DSP_LAST "]\n"
        "sub r5, r5, r4\n"
        "sub r7, r7, r6\n"
        "smmla r4, r4, r8, r2\n"
        "smmla r5, r5, r9, r3\n"
        "smmla r6, r6, r10, r2\n"
        "smmla r7, r7, r11, r3\n"
        "ssat r4, #8, r4, asr #4\n"
        "ssat r5, #8, r5, asr #12\n"
        "ssat r6, #8, r6, asr #4\n"
        "ssat r7, #8, r7, asr #12\n"
        DFQ_DSP_PACK("r4", "r5", "r6", "r7")
        DFQ_DSP_LOW_STORE_1("r4"));
}
/* clang-format on */

#else /* the same in C */

/* Four outputs of pixel `index` of `pixels`, from the block at `stream`. */
DFQ_INLINE uint32_t dfq_dsp_block_4(const dfq_dsp_matmul_args_t *args, const dfq_word_t *columns, const int32_t *stream,
                                    int32_t pixels, int32_t index, int32_t depth)
{
    const dfq_word_t *offset = columns + 2 * index - 2 * pixels;
    const int32_t *multipliers = stream + 4 + depth / 2;
    int32_t y[4];
    for (int32_t c = 0; c < 4; c += 2) {
        int32_t even = (int32_t)((uint32_t)stream[c] - offset[0]);
        int32_t odd = (int32_t)((uint32_t)stream[c + 1] - offset[1]);
        for (int32_t k = 0; k < depth / 2; k += 2) {
            const uint32_t low = (uint32_t)stream[4 + k + c / 2];
            const uint32_t high = low & 0xF0F0F0F0u;
            const uint32_t q = columns[k * pixels + index], p = columns[(k + 1) * pixels + index];
            odd = dfq_dsp_mac(p, low, dfq_dsp_mac(q, high, odd));
            even = dfq_dsp_mac(p, low & 0x00FF00FFu, dfq_dsp_mac(q, high & 0x00FF00FFu, even));
        }
        odd = (int32_t)((uint32_t)odd - (uint32_t)even);
        const int32_t even_high = (int32_t)(((int64_t)even * multipliers[c]) >> 32);
        const int32_t odd_high = (int32_t)(((int64_t)odd * multipliers[c + 1]) >> 32);
        y[c] = dfq_dsp_saturate(dfq_shift_right(even_high + args->zero_point, DFQ_DSP_EVEN_SHIFT));
        y[c + 1] = dfq_dsp_saturate(dfq_shift_right(odd_high + args->last, DFQ_DSP_ODD_SHIFT));
    }
    return dfq_dsp_pack(y[0], y[1], y[2], y[3]);
}

DFQ_INLINE void dfq_dsp_matmul_2x4_4(const dfq_word_t *columns, const dfq_dsp_matmul_args_t *args, int8_t *y0,
                                     int8_t *y1)
{
    const int32_t depth = dfq_dsp_depth_of(columns, args, 2);
    dfq_dsp_all_blocks(dfq_dsp_block_4, 8 + depth / 2, columns, args, 2, depth, y0, y1);
}

DFQ_INLINE void dfq_dsp_matmul_1x4_4(const dfq_word_t *columns, const dfq_dsp_matmul_args_t *args, int8_t *y)
{
    const int32_t depth = dfq_dsp_depth_of(columns, args, 1);
    dfq_dsp_all_blocks(dfq_dsp_block_4, 8 + depth / 2, columns, args, 1, depth, y, y);
}

#endif

#endif
