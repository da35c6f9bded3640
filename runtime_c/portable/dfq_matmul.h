/* SPDX-License-Identifier: MIT-0 */
/* Columns of activations times rows of weights: the inner loop of every convolution but the depthwise one.
 *
 *   columns  [2][depth] or [1][depth]   activations, zero point folded into the bias
 *   weight   [channels][depth]
 *   out      one int8 for each channel, for each column
 *
 * Blocks of 2 columns x 2 channels in scalar variables: four multiply-accumulates for four loads, and
 * nothing spills on the 13 registers of a Cortex-M3 (2.3 instructions a multiply-accumulate, all counted).
 * A Cortex-M0 has registers for pairs only. On a host with AVX2, ../host/dfq_avx2_matmul.h takes 16 inputs at a time.
 */
#ifndef DFQ_MATMUL_H
#define DFQ_MATMUL_H

#include "dfq_common.h"

/* Sums of a 2 x 2 block: acc[column][channel] as four scalars. */
typedef struct {
    int32_t a00, a01, a10, a11;
} dfq_block_2x2_t;

/* Four multiply-accumulates for four loads. */
DFQ_INLINE dfq_block_2x2_t dfq_step_2x2(dfq_block_2x2_t acc, const int8_t *x0, const int8_t *x1,
                                        const DFQ_FLASH int8_t *w0, const DFQ_FLASH int8_t *w1)
{
    const int32_t p0 = *x0, p1 = *x1, q0 = *w0, q1 = *w1;
    acc.a00 += p0 * q0;
    acc.a01 += p0 * q1;
    acc.a10 += p1 * q0;
    acc.a11 += p1 * q1;
    return acc;
}

/* Sums of one column and four channels. */
typedef struct {
    int32_t a0, a1, a2, a3;
} dfq_block_1x4_t;

DFQ_INLINE dfq_block_1x4_t dfq_step_1x4(dfq_block_1x4_t acc, const int8_t *x, const DFQ_FLASH int8_t *w, int32_t pitch)
{
    const int32_t p = *x;
    acc.a0 += p * w[0];
    acc.a1 += p * w[pitch];
    acc.a2 += p * w[2 * pitch];
    acc.a3 += p * w[3 * pitch];
    return acc;
}

#if defined(__AVX2__)
#include "../host/dfq_avx2_matmul.h"
#else

DFQ_PART int32_t dfq_dot(int32_t acc, const int8_t *x, const DFQ_FLASH int8_t *w, int32_t depth)
{
    DFQ_UNROLL(4)
    for (int32_t k = 0; k < depth; k++) {
        acc += (int32_t)x[k] * w[k];
    }
    return acc;
}

#if defined(DFQ_OPTIMIZE_SIZE)
/* Made for size, a loop that GCC -Os keeps in registers: 2.8 instructions a multiply-accumulate. */
DFQ_SHARED dfq_block_2x2_t dfq_dot_2x2(dfq_block_2x2_t acc, const int8_t *x0, const int8_t *x1,
                                       const DFQ_FLASH int8_t *w0, const DFQ_FLASH int8_t *w1, int32_t depth)
{
    for (const int8_t *const end = x0 + depth; x0 != end; x0++, x1++, w0++, w1++) {
        acc = dfq_step_2x2(acc, x0, x1, w0, w1);
    }
    return acc;
}

DFQ_SHARED dfq_block_1x4_t dfq_dot_1x4(dfq_block_1x4_t acc, const int8_t *x, const DFQ_FLASH int8_t *w, int32_t depth)
{
    for (const int8_t *const end = x + depth; x != end; x++, w++) {
        acc = dfq_step_1x4(acc, x, w, depth);
    }
    return acc;
}
#else
DFQ_INLINE dfq_block_2x2_t dfq_dot_2x2(dfq_block_2x2_t acc, const int8_t *x0, const int8_t *x1,
                                       const DFQ_FLASH int8_t *w0, const DFQ_FLASH int8_t *w1, int32_t depth)
{
    int32_t k = 0;
    for (; k + 4 <= depth; k += 4) {
        acc = dfq_step_2x2(acc, x0 + k, x1 + k, w0 + k, w1 + k);
        acc = dfq_step_2x2(acc, x0 + k + 1, x1 + k + 1, w0 + k + 1, w1 + k + 1);
        acc = dfq_step_2x2(acc, x0 + k + 2, x1 + k + 2, w0 + k + 2, w1 + k + 2);
        acc = dfq_step_2x2(acc, x0 + k + 3, x1 + k + 3, w0 + k + 3, w1 + k + 3);
    }
    for (; k < depth; k++) {
        acc = dfq_step_2x2(acc, x0 + k, x1 + k, w0 + k, w1 + k);
    }
    return acc;
}

DFQ_INLINE dfq_block_1x4_t dfq_dot_1x4(dfq_block_1x4_t acc, const int8_t *x, const DFQ_FLASH int8_t *w, int32_t depth)
{
    int32_t k = 0;
    for (; k + 4 <= depth; k += 4) {
        acc = dfq_step_1x4(acc, x + k, w + k, depth);
        acc = dfq_step_1x4(acc, x + k + 1, w + k + 1, depth);
        acc = dfq_step_1x4(acc, x + k + 2, w + k + 2, depth);
        acc = dfq_step_1x4(acc, x + k + 3, w + k + 3, depth);
    }
    for (; k < depth; k++) {
        acc = dfq_step_1x4(acc, x + k, w + k, depth);
    }
    return acc;
}
#endif

#endif

#if defined(DFQ_EIGHT_REGISTERS)
/* Two sums that share one operand, the second in the upper word: what fits eight registers. Not inlined, since
 * the layer around it would take some of them. */
DFQ_NOINLINE uint64_t dfq_dot_pair(const int8_t *shared, const int8_t *y0, const int8_t *y1, int32_t depth)
{
    int32_t a0 = 0, a1 = 0;
    DFQ_UNROLL(8)
    for (int32_t k = 0; k < depth; k++) {
        const int32_t p = shared[k];
        a0 += y0[k] * p;
        a1 += y1[k] * p;
    }
    return (uint64_t)(uint32_t)a1 << 32 | (uint32_t)a0;
}
#endif

/* Blocks of 2 columns x 4 channels in assembly: eight sums, for which GCC finds no registers on a Cortex-M3 and moves
 * them about on RISC-V. Row j of the weights and the second column are offsets, known when this is compiled. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) && !defined(DFQ_OPTIMIZE_SIZE) && \
    defined(__thumb2__) && !defined(__ARM_FEATURE_DSP)
#define DFQ_MATMUL_2X4 1
#define DFQ_OFFSETS_2X4 4096
#define DFQ_LOAD_2X4(value, from, offset) "ldrsb %[" value "], [%[" from "], #" offset "]\n\t"
#define DFQ_MAC_2X4(sum, value) "mla " sum ", %[" value "], %[q], " sum "\n\t"
#define DFQ_REPEAT_2X4 "ldr %[q], %[end]\n\tcmp %[x], %[q]\n\tbne 1b\n\t"
#define DFQ_END_2X4 "m"
#define DFQ_ADVANCE_2X4(pointer, count) "add %[" pointer "], #" count "\n\t"
#define DFQ_TEMPORARY_2X4
#elif defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) && !defined(DFQ_OPTIMIZE_SIZE) && \
    defined(__riscv_mul)
#define DFQ_MATMUL_2X4 1
#define DFQ_OFFSETS_2X4 2048
#define DFQ_LOAD_2X4(value, from, offset) "lb %[" value "], " offset "(%[" from "])\n\t"
#define DFQ_MAC_2X4(sum, value) "mul %[t], %[" value "], %[q]\n\tadd " sum ", " sum ", %[t]\n\t"
#define DFQ_REPEAT_2X4 "bne %[x], %[end], 1b\n\t"
#define DFQ_END_2X4 "r"
#define DFQ_ADVANCE_2X4(pointer, count) "addi %[" pointer "], %[" pointer "], " count "\n\t"
#define DFQ_TEMPORARY_2X4 , [t] "=&r"(t)
#else
#define DFQ_MATMUL_2X4 0
#endif

#if DFQ_MATMUL_2X4
#define DFQ_ROW_2X4(offset, first, second) \
    DFQ_LOAD_2X4("q", "w", offset) DFQ_MAC_2X4(first, "p0") DFQ_MAC_2X4(second, "p1")
#define DFQ_STEP_2X4(k)                       \
    DFQ_LOAD_2X4("p0", "x", k)                \
    DFQ_LOAD_2X4("p1", "x", k "+%c[d]")       \
    DFQ_ROW_2X4(k, "%[a0]", "%[b0]")          \
    DFQ_ROW_2X4(k "+%c[d]", "%[a1]", "%[b1]") \
    DFQ_ROW_2X4(k "+2*%c[d]", "%[a2]", "%[b2]") DFQ_ROW_2X4(k "+3*%c[d]", "%[a3]", "%[b3]")
#define DFQ_STEPS_2X4_4 DFQ_STEP_2X4("0") DFQ_STEP_2X4("1") DFQ_STEP_2X4("2") DFQ_STEP_2X4("3")
#define DFQ_STEPS_2X4_8 DFQ_STEPS_2X4_4 DFQ_STEP_2X4("4") DFQ_STEP_2X4("5") DFQ_STEP_2X4("6") DFQ_STEP_2X4("7")

/* Four steps or more, and the largest offset, in the last of eight, fits a load. */
#define DFQ_FITS_2X4(depth) (__builtin_constant_p(depth) && (depth) >= 4 && 3 * (depth) + 7 < DFQ_OFFSETS_2X4)

#define DFQ_LOOP_2X4(steps, count)                                                                                 \
    __asm__ volatile(                                                                                              \
        "1:\n\t" steps DFQ_ADVANCE_2X4("x", count) DFQ_ADVANCE_2X4("w", count) DFQ_REPEAT_2X4                      \
        : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [b0] "+r"(b0), [b1] "+r"(b1), [b2] "+r"(b2), \
          [b3] "+r"(b3), [x] "+r"(x), [w] "+r"(w), [p0] "=&r"(p0), [p1] "=&r"(p1), [q] "=&r"(q)DFQ_TEMPORARY_2X4   \
        : [d] "i"(depth), [end] DFQ_END_2X4(end)                                                                   \
        : "cc", "memory")

/* acc[0] of the first column, acc[1] of the second. */
DFQ_INLINE void dfq_dot_2x4(dfq_block_1x4_t acc[2], const int8_t *x, const int8_t *w, int32_t depth)
{
    int32_t a0 = acc[0].a0, a1 = acc[0].a1, a2 = acc[0].a2, a3 = acc[0].a3;
    int32_t b0 = acc[1].a0, b1 = acc[1].a1, b2 = acc[1].a2, b3 = acc[1].a3;
    int32_t p0, p1, q;
#if defined(__riscv)
    int32_t t;
#endif
    const int32_t rest = depth % 4;
    const int8_t *const end = x + depth - rest;
    if (depth % 8 == rest) {
        DFQ_LOOP_2X4(DFQ_STEPS_2X4_8, "8");
    } else {
        DFQ_LOOP_2X4(DFQ_STEPS_2X4_4, "4");
    }
    const dfq_block_1x4_t first = { a0, a1, a2, a3 };
    const dfq_block_1x4_t second = { b0, b1, b2, b3 };
    acc[0] = first;
    acc[1] = second;
    for (int32_t k = 0; k < rest; k++) {
        acc[0] = dfq_step_1x4(acc[0], x + k, w + k, depth);
        acc[1] = dfq_step_1x4(acc[1], x + k + depth, w + k, depth);
    }
}
#endif

/* Two columns, channels first .. first + count of the layer. */
DFQ_PART void dfq_matmul_two_columns(const int8_t *columns, int32_t depth, const DFQ_FLASH int8_t *weight,
                                     const DFQ_FLASH int32_t *bias, const dfq_requantize_t *form, int32_t first,
                                     int32_t count, int8_t *out0, int8_t *out1)
{
    const int8_t *x0 = columns;
    const int8_t *x1 = columns + depth;
    const DFQ_FLASH int8_t *w = weight + first * depth;
    const int32_t end = first + count;
    int32_t c = first;
#if defined(DFQ_EIGHT_REGISTERS)
    for (; c < end; c++, w += depth) {
        const uint64_t sums = dfq_dot_pair(w, x0, x1, depth);
        out0[c] = dfq_requantize(form, bias[c] + (int32_t)(uint32_t)sums, c);
        out1[c] = dfq_requantize(form, bias[c] + (int32_t)(sums >> 32), c);
    }
#endif
#if DFQ_MATMUL_2X4
    for (; DFQ_FITS_2X4(depth) && c + 4 <= end; c += 4, w += 4 * depth) {
        dfq_block_1x4_t acc[2] = { { bias[c], bias[c + 1], bias[c + 2], bias[c + 3] } };
        acc[1] = acc[0];
        dfq_dot_2x4(acc, x0, w, depth);
        out0[c] = dfq_requantize(form, acc[0].a0, c);
        out0[c + 1] = dfq_requantize(form, acc[0].a1, c + 1);
        out0[c + 2] = dfq_requantize(form, acc[0].a2, c + 2);
        out0[c + 3] = dfq_requantize(form, acc[0].a3, c + 3);
        out1[c] = dfq_requantize(form, acc[1].a0, c);
        out1[c + 1] = dfq_requantize(form, acc[1].a1, c + 1);
        out1[c + 2] = dfq_requantize(form, acc[1].a2, c + 2);
        out1[c + 3] = dfq_requantize(form, acc[1].a3, c + 3);
    }
#endif
    for (; c + 2 <= end; c += 2, w += 2 * depth) {
        dfq_block_2x2_t acc = { bias[c], bias[c + 1], bias[c], bias[c + 1] };
        acc = dfq_dot_2x2(acc, x0, x1, w, w + depth, depth);
        out0[c] = dfq_requantize(form, acc.a00, c);
        out1[c] = dfq_requantize(form, acc.a10, c);
        out0[c + 1] = dfq_requantize(form, acc.a01, c + 1);
        out1[c + 1] = dfq_requantize(form, acc.a11, c + 1);
    }
    if (c < end) {
        out0[c] = dfq_requantize(form, dfq_dot(bias[c], x0, w, depth), c);
        out1[c] = dfq_requantize(form, dfq_dot(bias[c], x1, w, depth), c);
    }
}

/* One column, channels first .. first + count of the layer. */
DFQ_PART void dfq_matmul_one_column(const int8_t *column, int32_t depth, const DFQ_FLASH int8_t *weight,
                                    const DFQ_FLASH int32_t *bias, const dfq_requantize_t *form, int32_t first,
                                    int32_t count, int8_t *out)
{
    const DFQ_FLASH int8_t *w = weight + first * depth;
    const int32_t end = first + count;
    int32_t c = first;
#if defined(DFQ_EIGHT_REGISTERS)
    for (; c + 2 <= end; c += 2, w += 2 * depth) {
        const uint64_t sums = dfq_dot_pair(column, w, w + depth, depth);
        out[c] = dfq_requantize(form, bias[c] + (int32_t)(uint32_t)sums, c);
        out[c + 1] = dfq_requantize(form, bias[c + 1] + (int32_t)(sums >> 32), c + 1);
    }
#endif
    for (; c + 4 <= end; c += 4, w += 4 * depth) {
        dfq_block_1x4_t acc = { bias[c], bias[c + 1], bias[c + 2], bias[c + 3] };
        acc = dfq_dot_1x4(acc, column, w, depth);
        out[c] = dfq_requantize(form, acc.a0, c);
        out[c + 1] = dfq_requantize(form, acc.a1, c + 1);
        out[c + 2] = dfq_requantize(form, acc.a2, c + 2);
        out[c + 3] = dfq_requantize(form, acc.a3, c + 3);
    }
    for (; c < end; c++, w += depth) {
        out[c] = dfq_requantize(form, dfq_dot(bias[c], column, w, depth), c);
    }
}

#endif
