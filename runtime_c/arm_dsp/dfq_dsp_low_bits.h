/* Matrix products with packed 4-bit and 2-bit weights, four output channels at a time, on the Arm DSP extension.
 *
 * Activations lie in `columns` as in dfq_dsp_matmul.h: int16 pairs (x[k], x[k+2]), (x[k+1], x[k+3]) ... of one pixel,
 * or of two, interleaved. Weights are one stream of words; `pair` below is two neighbouring output channels.
 *
 * 4 bits. A byte holds a weight a of the first pair in its upper and b of the second in its lower nibble:
 * V = 16 a + b + 8; one AND gives H = 16 a. Both are used as they are: with the activations turned once into
 * p = 16 x' and q = x - 16 x' (x' the second pair's),
 *     q H + p V = 16 (x a + x' b) + 128 x'.
 * The even channel of a pair has a + 8 for a, so that no byte is negative, hence 128 x more. These offsets do not
 * depend on the channel: `dfq_dsp_split_4` sums them while it makes p and q. Sums are 16 times too large, so
 * requantization shifts four bits more. Else as the paired form of dfq_dsp_matmul.h, with 16 |S1| < 2^23. A block:
 *   4 words          first values: 16 b0, 16 (256 b1 + b0), 16 b2, 16 (256 b3 + b2)
 *   depth / 2 words  V of channels 0 and 1, V of channels 2 and 3
 *   4 words          multipliers
 *
 * 2 bits. Two channels share one half, 2^14 c1 + (c0 + 2), so that one SMLAD is four products: R = 2^14 S1 + S0. In 16
 * steps S0 moves by less than 2^13, so the lower 14 bits of R tell it exactly (SBFX); at the end S1 = (R - S0) >> 14,
 * if |S1| < 2^17. A word holds four such words of 8 bits, each one rotation and one AND away. A block:
 *   2 words          b0, b2
 *   depth / 4 words  for eight inputs: channels 0 and 1, channels 2 and 3; depth is a multiple of 8
 *   6 words          b1, b3, multipliers of channels 0, 2, 1, 3
 *
 * The compiler proves the bounds from the real weights; elsewhere it unpacks (dfq_dsp_unpack.h).
 */
#ifndef DFQ_DSP_LOW_BITS_H
#define DFQ_DSP_LOW_BITS_H

#include "dfq_dsp_matmul.h"

#define DFQ_DSP_HEADER 4 /* words before the columns: offsets of the first sums */
#define DFQ_DSP_ODD_SHIFT 12
#define DFQ_DSP_EVEN_SHIFT 4
#define DFQ_DSP_FIELDS 0xC003C003u
#define DFQ_DSP_SUM_BITS 14

/* Halves of a minus halves of b. */
DFQ_INLINE uint32_t dfq_dsp_subtract_halves(uint32_t a, uint32_t b)
{
#if DFQ_DSP_ASM
    uint32_t r;
    __asm__("ssub16 %0, %1, %2" : "=r"(r) : "r"(a), "r"(b));
    return r;
#else
    return ((a - b) & 0xFFFFu) | ((a >> 16) - (b >> 16)) << 16;
#endif
}

/* Put offset and, at 4 bits, p and q before the activations in `columns`: `pixels` (1 or 2) pixels, interleaved. */
DFQ_NOINLINE void dfq_dsp_split_4(dfq_word_t *columns, int32_t depth, int32_t pixels)
{
    const uint32_t ones = 0x00010001u;
    const uint32_t mask = 0xFFF0FFF0u;
    int32_t first[2] = {0, 0}, second[2] = {0, 0};
    dfq_word_t *word = columns;
    if (pixels == 2) {
#if DFQ_DSP_ASM
#define DFQ_DSP_SPLIT_4                     \
    "ldm %[word], {r4, r5, r6, r8}\n\t"     \
    "smlad %[e0], r4, %[ones], %[e0]\n\t"   \
    "smlad %[e1], r5, %[ones], %[e1]\n\t"   \
    "smlad %[o0], r6, %[ones], %[o0]\n\t"   \
    "smlad %[o1], r8, %[ones], %[o1]\n\t"   \
    "and r6, %[mask], r6, lsl #4\n\t"       \
    "and r8, %[mask], r8, lsl #4\n\t"       \
    "ssub16 r4, r4, r6\n\t"                 \
    "ssub16 r5, r5, r8\n\t"                 \
    "stm %[word]!, {r4, r5, r6, r8}\n\t"
#define DFQ_DSP_SPLIT(text)                                                                                      \
    __asm__ volatile(text                                                                                        \
                     : [word] "+r"(word), [e0] "+r"(first[0]), [e1] "+r"(first[1]), [o0] "+r"(second[0]),        \
                       [o1] "+r"(second[1])                                                                      \
                     : [ones] "r"(ones), [mask] "r"(mask)                                                        \
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

/* The offset of the sums of 2-bit weights: twice the sum of a pixel's activations. */
DFQ_NOINLINE void dfq_dsp_split_2(dfq_word_t *columns, int32_t depth, int32_t pixels)
{
    const uint32_t twos = 0x00020002u;
    int32_t sums[2] = {0, 0};
    const dfq_word_t *word = columns;
    if (pixels == 2) {
        DFQ_UNROLL(1)
        for (; word != columns + depth; word += 8) {
#if DFQ_DSP_ASM
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
#define DFQ_DSP_X4(text) text text text text

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
#define DFQ_DSP_STEP_2X4_4_BYTES 104

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
#define DFQ_DSP_STEP_1X4_4_BYTES 64

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

/* 2 bits, two pixels. r4-r7: R of pixel 0 channels 01, 23, of pixel 1 the same; their S0 on the stack. Frame: */
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
#define DFQ_DSP_UNIT_2X4_2_BYTES 116
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
#define DFQ_DSP_UNIT_1X4_2_BYTES 72

/* 2 bits, one pixel: R in r4, r5, their S0 in r6, r7. */
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

#define DFQ_DSP_STEP_2X4_4_BYTES 104
#define DFQ_DSP_STEP_1X4_4_BYTES 64
#define DFQ_DSP_UNIT_2X4_2_BYTES 116
#define DFQ_DSP_UNIT_1X4_2_BYTES 72

/* Four outputs of pixel `index` of `pixels`, 4 bits; `weights` is the block's first word after the first values. */
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

/* The same at 2 bits. */
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

typedef uint32_t dfq_dsp_block_t(const dfq_dsp_matmul_args_t *args, const dfq_word_t *columns, const int32_t *stream,
                                 int32_t pixels, int32_t index, int32_t depth);

/* All blocks of `pixels` pixels, whose outputs go to y0 and y1. */
DFQ_INLINE void dfq_dsp_all_blocks(dfq_dsp_block_t *block, int32_t block_words, const dfq_word_t *columns,
                                   const dfq_dsp_matmul_args_t *args, int32_t pixels, int32_t depth, int8_t *y0, int8_t *y1)
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

DFQ_INLINE void dfq_dsp_matmul_2x4_4(const dfq_word_t *columns, const dfq_dsp_matmul_args_t *args, int8_t *y0, int8_t *y1)
{
    const int32_t depth = dfq_dsp_depth_of(columns, args, 2);
    dfq_dsp_all_blocks(dfq_dsp_block_4, 8 + depth / 2, columns, args, 2, depth, y0, y1);
}

DFQ_INLINE void dfq_dsp_matmul_1x4_4(const dfq_word_t *columns, const dfq_dsp_matmul_args_t *args, int8_t *y)
{
    const int32_t depth = dfq_dsp_depth_of(columns, args, 1);
    dfq_dsp_all_blocks(dfq_dsp_block_4, 8 + depth / 2, columns, args, 1, depth, y, y);
}

DFQ_INLINE void dfq_dsp_matmul_2x4_2(const dfq_word_t *columns, const dfq_dsp_matmul_args_t *args, int8_t *y0, int8_t *y1)
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

/* `pixels` pixels of activations in `columns`, weights of `bits` bits. */
DFQ_INLINE dfq_dsp_matmul_args_t dfq_dsp_low_args(const dfq_dsp_matmul_t *layer, const dfq_word_t *columns, int32_t bits,
                                                  int32_t pixels)
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
