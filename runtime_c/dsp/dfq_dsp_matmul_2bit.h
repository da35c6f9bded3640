/* SPDX-License-Identifier: MIT-0 */
/* Matrix products with 2-bit weights on the Arm DSP extension; see dfq_dsp_low_bits.h.
 *
 * Two channels share one half, 2^14 c1 + (c0 + 2), so that one SMLAD is four products: R = 2^14 S1 + S0. In 16
 * steps S0 moves by less than 2^13, so the lower 14 bits of R tell it exactly (SBFX); at the end S1 = (R - S0) >> 14,
 * if |S1| < 2^17. A word holds four such words of 8 bits, each one rotation and one AND away. A block:
 *   2 words          b0, b2
 *   depth / 4 words  for eight inputs: channels 0 and 1, channels 2 and 3; depth is a multiple of 8
 *   6 words          b1, b3, multipliers of channels 0, 2, 1, 3
 */
#ifndef DFQ_DSP_MATMUL_2BIT_H
#define DFQ_DSP_MATMUL_2BIT_H

#include "dfq_dsp_low_bits.h"

#define DFQ_DSP_FIELDS 0xC003C003u
#define DFQ_DSP_SUM_BITS 14

/* The offset of the sums: twice the sum of a pixel's activations. */
DFQ_NOINLINE void dfq_dsp_split_2(dfq_word_t *columns, int32_t depth, int32_t pixels)
{
    const uint32_t twos = 0x00020002u;
    int32_t sums[2] = { 0, 0 };
    const dfq_word_t *word = columns;
    if (pixels == 2) {
        DFQ_UNROLL(1)
        for (; word != columns + depth; word += 8) {
#if DFQ_DSP_ASM_BLOCKS
            __asm__("ldm %[word], {r4, r5, r6, r8}\n\t"
                    "smlad %[s0], r4, %[twos], %[s0]\n\t"
                    "smlad %[s1], r5, %[twos], %[s1]\n\t"
                    "smlad %[s0], r6, %[twos], %[s0]\n\t"
                    "smlad %[s1], r8, %[twos], %[s1]\n\t"
                    "ldrd r4, r5, [%[word], #16]\n\t"
                    "ldrd r6, r8, [%[word], #24]\n\t"
                    "smlad %[s0], r4, %[twos], %[s0]\n\t"
                    "smlad %[s1], r5, %[twos], %[s1]\n\t"
                    "smlad %[s0], r6, %[twos], %[s0]\n\t"
                    "smlad %[s1], r8, %[twos], %[s1]\n\t"
                    : [s0] "+r"(sums[0]), [s1] "+r"(sums[1])
                    : [word] "r"(word), [twos] "r"(twos)
                    : "r4", "r5", "r6", "r8", "memory");
#else
            for (int32_t i = 0; i < 8; i++) {
                sums[i % 2] = dfq_dsp_mac(word[i], twos, sums[i % 2]);
            }
#endif
        }
    } else {
        for (; word != columns + depth / 2; word++) {
            sums[0] = dfq_dsp_mac(*word, twos, sums[0]);
        }
    }
    columns[-2] = (uint32_t)sums[0];
    columns[-1] = (uint32_t)sums[1];
}

#if DFQ_DSP_ASM

/* clang-format off */
/* Two pixels. r4-r7: R of pixel 0 channels 01, 23, of pixel 1 the same; their S0 on the stack. Frame: */
#define DFQ_DSP_SUMS "0"
#define DFQ_DSP_SUMS_1 "8"
#define DFQ_DSP_STEP_2X4_2(turn)                                          \
    "ldrd r2, r3, [r0], #8\n"                                             \
    "and.w r11, r10, r8" turn "\n"                                        \
    "and.w r12, r10, r9" turn "\n"                                        \
    "smlad r4, r2, r11, r4\n"                                             \
    "smlad r6, r3, r11, r6\n"                                             \
    "smlad r5, r2, r12, r5\n"                                             \
    "smlad r7, r3, r12, r7\n"
#define DFQ_DSP_UNIT_2X4_2                                                \
    "ldrd r8, r9, [r1], #8\n"                                             \
    DFQ_DSP_STEP_2X4_2("")                                                \
    DFQ_DSP_STEP_2X4_2(", ror #4")                                        \
    DFQ_DSP_STEP_2X4_2(", ror #8")                                        \
    DFQ_DSP_STEP_2X4_2(", ror #12")
/* S0 (s0, s1) follows R (a, b). */
#define DFQ_DSP_FOLLOW(a, b, s0, s1)                                      \
    "sub r11, " a ", " s0 "\n"                                            \
    "sub r12, " b ", " s1 "\n"                                            \
    "sbfx r11, r11, #0, #14\n"                                            \
    "sbfx r12, r12, #0, #14\n"                                            \
    "add " s0 ", " s0 ", r11\n"                                           \
    "add " s1 ", " s1 ", r12\n"

DFQ_DSP_NAKED void dfq_dsp_matmul_2x4_2(const dfq_word_t *columns DFQ_UNUSED, const dfq_dsp_matmul_args_t *args DFQ_UNUSED,
                                        int8_t *y0 DFQ_UNUSED, int8_t *y1 DFQ_UNUSED)
{
    __asm__ volatile(
        DFQ_DSP_PROLOGUE
        "sub sp, sp, #16\n"
        "1:\n"
        "ldrd r2, r3, [r1], #8\n"
        "ldrd r8, r9, [r0, #-8]\n"
        "movw r10, #0xC003\n"
        "movt r10, #0xC003\n"
        "sub r4, r2, r8\n"
        "sub r5, r3, r8\n"
        "sub r6, r2, r9\n"
        "sub r7, r3, r9\n"
        "strd r4, r5, [sp, #" DFQ_DSP_SUMS "]\n"
        "strd r6, r7, [sp, #" DFQ_DSP_SUMS_1 "]\n"
        "ldr.w pc, [sp, #32]\n"
        ".balign 4\n"
        "2:\n"
        DFQ_DSP_UNIT_2X4_2
        DFQ_DSP_UNIT_2X4_2
        DFQ_DSP_CHECK_BYTES(2, DFQ_DSP_UNIT_2X4_2_BYTES)
        "ldrd r2, r3, [sp, #" DFQ_DSP_SUMS "]\n"
        DFQ_DSP_FOLLOW("r4", "r5", "r2", "r3")
        "strd r2, r3, [sp, #" DFQ_DSP_SUMS "]\n"
        "ldrd r2, r3, [sp, #" DFQ_DSP_SUMS_1 "]\n"
        DFQ_DSP_FOLLOW("r6", "r7", "r2", "r3")
        "strd r2, r3, [sp, #" DFQ_DSP_SUMS_1 "]\n"
        "ldr.w r12, [sp, #28]\n"
        "cmp r0, r12\n"
        "bne 2b\n"
        "ldrd r8, r9, [sp, #" DFQ_DSP_SUMS "]\n"
        "ldrd r10, r11, [sp, #" DFQ_DSP_SUMS_1 "]\n"
        "ldrd r2, r3, [r1], #8\n"
        "sub r4, r4, r8\n"
        "sub r5, r5, r9\n"
        "sub r6, r6, r10\n"
        "sub r7, r7, r11\n"
        "add r4, r2, r4, asr #14\n"
        "add r5, r3, r5, asr #14\n"
        "add r6, r2, r6, asr #14\n"
        "add r7, r3, r7, asr #14\n"
        "ldr.w r0, [sp, #36]\n"
        "ldm r1!, {r2, r3, r12, lr}\n"
        "smmlar r8, r8, r2, r0\n"
        "smmlar r10, r10, r2, r0\n"
        "smmlar r9, r9, r3, r0\n"
        "smmlar r11, r11, r3, r0\n"
        "smmlar r4, r4, r12, r0\n"
        "smmlar r6, r6, r12, r0\n"
        "smmlar r5, r5, lr, r0\n"
        "smmlar r7, r7, lr, r0\n"
        "ssat r4, #8, r4\n"
        "ssat r5, #8, r5\n"
        "ssat r6, #8, r6\n"
        "ssat r7, #8, r7\n"
        "ssat r8, #8, r8\n"
        "ssat r9, #8, r9\n"
        "ssat r10, #8, r10\n"
        "ssat r11, #8, r11\n"
        DFQ_DSP_PACK("r8", "r4", "r9", "r5")
        DFQ_DSP_PACK("r10", "r6", "r11", "r7")
        DFQ_DSP_LOW_STORE_2("r8", "r10", "52", "16", "24", "44", "48"));
}

#define DFQ_DSP_STEP_1X4_2(x, turn)                                       \
    "and.w lr, r10, r8" turn "\n"                                         \
    "smlad r4, " x ", lr, r4\n"                                           \
    "and.w lr, r10, r9" turn "\n"                                         \
    "smlad r5, " x ", lr, r5\n"
#define DFQ_DSP_UNIT_1X4_2                                                \
    "ldm.w r0!, {r2, r3, r11, r12}\n"                                     \
    "ldrd r8, r9, [r1], #8\n"                                             \
    DFQ_DSP_STEP_1X4_2("r2", "")                                          \
    DFQ_DSP_STEP_1X4_2("r3", ", ror #4")                                  \
    DFQ_DSP_STEP_1X4_2("r11", ", ror #8")                                 \
    DFQ_DSP_STEP_1X4_2("r12", ", ror #12")

/* One pixel: R in r4, r5, their S0 in r6, r7. */
DFQ_DSP_NAKED void dfq_dsp_matmul_1x4_2(const dfq_word_t *columns DFQ_UNUSED, const dfq_dsp_matmul_args_t *args DFQ_UNUSED,
                                        int8_t *y DFQ_UNUSED)
{
    __asm__ volatile(
        DFQ_DSP_PROLOGUE
        "1:\n"
        "ldrd r6, r7, [r1], #8\n"
        "ldr r2, [r0, #-8]\n"
        "movw r10, #0xC003\n"
        "movt r10, #0xC003\n"
        "sub r6, r6, r2\n"
        "sub r7, r7, r2\n"
        "mov r4, r6\n"
        "mov r5, r7\n"
        DFQ_DSP_ENTER
        "2:\n"
        DFQ_DSP_UNIT_1X4_2
        DFQ_DSP_UNIT_1X4_2
        DFQ_DSP_CHECK_BYTES(2, DFQ_DSP_UNIT_1X4_2_BYTES)
        DFQ_DSP_FOLLOW("r4", "r5", "r6", "r7")
        DFQ_DSP_REPEAT
        "ldm r1!, {r2, r3, r8, r9, r10, r11}\n"
        "ldr.w r0, [sp, #" DFQ_DSP_ZERO "]\n"
        "sub r4, r4, r6\n"
        "sub r5, r5, r7\n"
        "add r4, r2, r4, asr #14\n"
        "add r5, r3, r5, asr #14\n"
        "smmlar r6, r6, r8, r0\n"
        "smmlar r7, r7, r9, r0\n"
        "smmlar r4, r4, r10, r0\n"
        "smmlar r5, r5, r11, r0\n"
        "ssat r4, #8, r4\n"
        "ssat r5, #8, r5\n"
        "ssat r6, #8, r6\n"
        "ssat r7, #8, r7\n"
        DFQ_DSP_PACK("r6", "r4", "r7", "r5")
        DFQ_DSP_LOW_STORE_1("r6"));
}
/* clang-format on */

#else /* the same in C */

/* Four outputs of pixel `index` of `pixels`, from the block at `stream`. */
DFQ_INLINE uint32_t dfq_dsp_block_2(const dfq_dsp_matmul_args_t *args, const dfq_word_t *columns, const int32_t *stream,
                                    int32_t pixels, int32_t index, int32_t depth)
{
    const uint32_t half = 1u << (DFQ_DSP_SUM_BITS - 1);
    const int32_t *tail = stream + 2 + depth / 4;
    int32_t y[4];
    for (int32_t c = 0; c < 2; c++) {
        uint32_t low = (uint32_t)stream[c] - columns[index - 2];
        uint32_t all = low;
        for (int32_t k = 0; k < depth / 2; k++) {
            const uint32_t word = (uint32_t)stream[2 + k / 4 * 2 + c];
            const int32_t turn = k % 4 * 4;
            const uint32_t turned = turn == 0 ? word : word >> turn | word << (32 - turn);
            all = (uint32_t)dfq_dsp_mac(columns[k * pixels + index], turned & DFQ_DSP_FIELDS, (int32_t)all);
            if (k % 8 == 7 || k == depth / 2 - 1) {
                low += ((all - low + half) & (2 * half - 1)) - half;
            }
        }
        const int32_t high = dfq_shift_right((int32_t)(all - low), DFQ_DSP_SUM_BITS) + tail[c];
        y[2 * c] = dfq_dsp_saturate(dfq_dsp_scale((int32_t)low, tail[2 + c], args->zero_point));
        y[2 * c + 1] = dfq_dsp_saturate(dfq_dsp_scale(high, tail[4 + c], args->zero_point));
    }
    return dfq_dsp_pack(y[0], y[1], y[2], y[3]);
}

DFQ_INLINE void dfq_dsp_matmul_2x4_2(const dfq_word_t *columns, const dfq_dsp_matmul_args_t *args, int8_t *y0,
                                     int8_t *y1)
{
    const int32_t depth = dfq_dsp_depth_of(columns, args, 2);
    dfq_dsp_all_blocks(dfq_dsp_block_2, 8 + depth / 4, columns, args, 2, depth, y0, y1);
}

DFQ_INLINE void dfq_dsp_matmul_1x4_2(const dfq_word_t *columns, const dfq_dsp_matmul_args_t *args, int8_t *y)
{
    const int32_t depth = dfq_dsp_depth_of(columns, args, 1);
    dfq_dsp_all_blocks(dfq_dsp_block_2, 8 + depth / 4, columns, args, 1, depth, y, y);
}

#endif

#endif
