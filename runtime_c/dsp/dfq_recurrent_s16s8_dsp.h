/* SPDX-License-Identifier: MIT-0 */
/* Recurrent layers, Arm DSP extension: LSTM, GRU and the simple RNN as in dfq_recurrent_s16s8.h, whose units and states
 * are even; the gates' sums are made from one stream of words, as in a fully connected layer of int8.
 *
 *   x, out, first, second  Arguments are those of dfq_recurrent_s16s8.h
 *   weight   for each block of four rows: 6 words of first values, see below; depth words of weights; 4 words of
 *            multipliers. depth is that of a column, rounded up to a multiple of 4, with zeros, as are rows
 *   scratch  dfq_recurrent_s16s8.h's, and what a column lacks to a multiple of 4
 *
 * For inputs k, k + 2 ... the weights are words w01(k), w23(k), w01(k + 2) ...: w01(k) has the lanes {c0[k], c1[k],
 * c0[k+1], c1[k+1]}. SXTB16 makes it a pair of c0 for SMLAD. A half of it as it stands is 256 c1[k] + c0[k] (the packer
 * subtracts one from c1 where c0 is negative), so that SMLALD gives 256 S1 + S0 in 64 bits, where no int16 input can reach
 * the end, and S0 is at hand. The first values are b0, 256 b1 + b0 in two words, b2, 256 b3 + b2.
 *
 * `out` overlaps no input. Equal QLstm, QGru and QRnn bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_RECURRENT_S16S8_DSP_H
#define DFQ_RECURRENT_S16S8_DSP_H

#include "../portable/dfq_recurrent_s16s8.h"
#include "dfq_dsp_matmul.h"

#define DFQ_DSP_GATE_ROWS 64 /* whose sums wait on the stack together */
#define DFQ_DSP_GATE_STEP_BYTES 56

/* What the assembly reads, in this order. */
typedef struct {
    const dfq_half_t *x_end; /* end of the column */
    int32_t entry;           /* where in the unrolled loop to enter, in bytes, +1 for Thumb */
    int32_t pre_shift;
    int32_t *sums; /* [blocks][4], to be added to */
    int32_t blocks;
    const int32_t *stream;
} dfq_dsp_gates_args_t;

#if DFQ_DSP_ASM

/* clang-format off */
/* Four inputs: 8 multiply-accumulates of two in 14 instructions. */
#define DFQ_DSP_GATE_STEP                                                 \
    "ldrd r2, r3, [r0], #8\n"                                             \
    "ldm.w r1!, {r10, r11, r12, lr}\n"                                    \
    "smlald r5, r6, r2, r10\n"                                            \
    "smlald r8, r9, r2, r11\n"                                            \
    "smlald r5, r6, r3, r12\n"                                            \
    "smlald r8, r9, r3, lr\n"                                             \
    "sxtb16 r10, r10\n"                                                   \
    "sxtb16 r11, r11\n"                                                   \
    "sxtb16 r12, r12\n"                                                   \
    "sxtb16 lr, lr\n"                                                     \
    "smlad r4, r2, r10, r4\n"                                             \
    "smlad r7, r2, r11, r7\n"                                             \
    "smlad r4, r3, r12, r4\n"                                             \
    "smlad r7, r3, lr, r7\n"

/* Of 256 S1 + S0 in a pair of words, S1 in the first. */
#define DFQ_DSP_GATE_ODD(even, low, high)                                 \
    "subs " low ", " low ", " even "\n"                                   \
    "sbc " high ", " high ", " even ", asr #31\n"                         \
    "lsr " low ", " low ", #8\n"                                          \
    "orr " low ", " low ", " high ", lsl #24\n"

/* Frame: x, x_end, entry, pre_shift, sums, blocks. */
DFQ_DSP_NAKED void dfq_dsp_gate_blocks(const dfq_half_t *x DFQ_UNUSED, const dfq_dsp_gates_args_t *args DFQ_UNUSED)
{
    __asm__ volatile("push {r4-r11, lr}\n"
                     "ldm r1, {r3, r4, r5, r6, r7, r8}\n"
                     "mov r1, r8\n"
                     "adr.w r12, 2f\n"
                     "add r4, r4, r12\n"
                     "push {r0, r3, r4, r5, r6, r7}\n"
                     "1:\n"
                     "ldm r1!, {r4-r9}\n"
                     "ldr.w pc, [sp, #8]\n"
                     ".balign 4\n"
                     "2:\n"
                     DFQ_DSP_X8(DFQ_DSP_GATE_STEP)
                     DFQ_DSP_CHECK_BYTES(8, DFQ_DSP_GATE_STEP_BYTES)
                     "ldr.w r12, [sp, #4]\n"
                     "cmp r0, r12\n"
                     "bne 2b\n"
                     DFQ_DSP_GATE_ODD("r4", "r5", "r6")
                     DFQ_DSP_GATE_ODD("r7", "r8", "r9")
                     "ldrd r9, r12, [sp, #12]\n"
                     "lsl r4, r4, r9\n"
                     "lsl r5, r5, r9\n"
                     "lsl r7, r7, r9\n"
                     "lsl r8, r8, r9\n"
                     "ldm r1!, {r2, r3, r10, r11}\n"
                     "ldm r12, {r0, r6, r9, lr}\n"
                     "smmlar r4, r4, r2, r0\n"
                     "smmlar r5, r5, r3, r6\n"
                     "smmlar r7, r7, r10, r9\n"
                     "smmlar r8, r8, r11, lr\n"
                     "stm r12!, {r4, r5, r7, r8}\n"
                     "ldr r6, [sp, #20]\n"
                     "ldr r0, [sp]\n"
                     "str.w r12, [sp, #16]\n"
                     "subs r6, r6, #1\n"
                     "str r6, [sp, #20]\n"
                     "bne 1b\n"
                     "add sp, sp, #24\n"
                     "pop {r4-r11, pc}\n");
}
/* clang-format on */

DFQ_INLINE uint32_t dfq_dsp_saturate_pair(int32_t bottom, int32_t top)
{
    return dfq_dsp_bottoms((uint32_t)dfq_saturate_16(bottom), (uint32_t)dfq_saturate_16(top));
}

#else /* the same in C */

/* Two rows whose weights lie two words apart, from their first values on: S0 and S1. */
DFQ_INLINE void dfq_dsp_gate_pair(const dfq_half_t *x, const dfq_half_t *end, const int32_t *first,
                                  const int32_t *words, int32_t *sums)
{
    int32_t even = first[0];
    int64_t both = (int64_t)((uint64_t)(uint32_t)first[2] << 32 | (uint32_t)first[1]);
    for (; x < end; x += 2, words += 2) {
        const uint32_t word = (uint32_t)*words;
        const uint32_t pair = dfq_dsp_halves(x[0], x[1]);
        both += (int64_t)x[0] * dfq_dsp_bottom(word) + (int64_t)x[1] * dfq_dsp_top(word);
        even = dfq_dsp_mac(pair, dfq_dsp_widen_even(word), even);
    }
    sums[0] = even;
    sums[1] = (int32_t)(uint32_t)((uint64_t)(both - even) >> 8);
}

DFQ_INLINE void dfq_dsp_gate_blocks(const dfq_half_t *x, const dfq_dsp_gates_args_t *args)
{
    const int32_t *stream = args->stream;
    const int32_t words = (int32_t)(args->x_end - x);
    for (int32_t block = 0; block < args->blocks; block++, stream += words + 10) {
        int32_t acc[4];
        dfq_dsp_gate_pair(x, args->x_end, stream, stream + 6, acc);
        dfq_dsp_gate_pair(x, args->x_end, stream + 3, stream + 7, acc + 2);
        for (int32_t i = 0; i < 4; i++) {
            const int32_t shifted = acc[i] * (int32_t)((uint32_t)1 << args->pre_shift);
            int32_t *const sum = args->sums + 4 * block + i;
            *sum = dfq_dsp_scale(shifted, stream[6 + words + i], *sum);
        }
    }
}

DFQ_INLINE uint32_t dfq_dsp_saturate_pair(int32_t bottom, int32_t top)
{
    return dfq_dsp_halves(dfq_saturate_16(bottom), dfq_saturate_16(top));
}

#endif

/* Rows first .. first + count over one column are added to `sums`, and what lacks to a whole block. */
typedef void (*dfq_dsp_gate_part_t)(const dfq_gate_rows_t *rows, const dfq_half_t *column, int32_t first, int32_t count,
                                    int32_t *sums);

DFQ_INLINE void dfq_dsp_gate_part(const dfq_gate_rows_t *rows, const dfq_half_t *column, int32_t first, int32_t count,
                                  int32_t *sums)
{
    const int32_t steps = (rows->depth + 3) / 4;
    const int32_t skipped = (DFQ_DSP_UNROLL - steps % DFQ_DSP_UNROLL) % DFQ_DSP_UNROLL;
    const dfq_dsp_gates_args_t args = {
        .x_end = column + 4 * steps,
        .entry = skipped * DFQ_DSP_GATE_STEP_BYTES + 1,
        .pre_shift = rows->pre_shift,
        .sums = sums,
        .blocks = (count + 3) / 4,
        .stream = rows->stream + first / 4 * (4 * steps + 10),
    };
    dfq_dsp_gate_blocks(column, &args);
}

/* A dfq_gate_sums_t but for `part`; `first` is a multiple of four, `count` is even, columns and `sums` are word aligned. */
DFQ_INLINE void dfq_dsp_gate_sums_by(dfq_dsp_gate_part_t part, const dfq_gate_rows_t *a, const dfq_half_t *column,
                                     const dfq_gate_rows_t *b, const dfq_half_t *other, int32_t first, int32_t count,
                                     dfq_half_t *sums)
{
    int32_t wide[DFQ_DSP_GATE_ROWS];
    for (int32_t done = 0; done < count; done += DFQ_DSP_GATE_ROWS) {
        const int32_t now = dfq_min(count - done, DFQ_DSP_GATE_ROWS);
        DFQ_UNROLL(4)
        for (int32_t i = 0; i < (now + 3) / 4 * 4; i++) {
            wide[i] = 0;
        }
        part(a, column, first + done, now, wide);
        if (b != NULL) {
            part(b, other, first + done, now, wide);
        }
        DFQ_UNROLL(2)
        for (int32_t i = 0; i < now; i += 2, sums += 2) {
            dfq_dsp_store((int8_t *)sums, dfq_dsp_saturate_pair(wide[i], wide[i + 1]));
        }
    }
}

DFQ_SHARED void dfq_dsp_gate_sums(const dfq_gate_rows_t *a, const dfq_half_t *column, const dfq_gate_rows_t *b,
                                  const dfq_half_t *other, int32_t first, int32_t count, dfq_half_t *sums,
                                  DFQ_UNUSED dfq_half_t *spare)
{
    dfq_dsp_gate_sums_by(dfq_dsp_gate_part, a, column, b, other, first, count, sums);
}

DFQ_KERNEL void dfq_lstm_s16s8_dsp(const dfq_lstm_s16s8_t *lstm, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_lstm_with(lstm, dfq_dsp_gate_sums, x, out, scratch);
}

DFQ_KERNEL void dfq_lstm_from_s16s8_dsp(const dfq_lstm_s16s8_t *lstm, const int8_t *x, const int8_t *first,
                                        const int8_t *second, int8_t *out, int8_t *scratch)
{
    dfq_lstm_from_with(lstm, dfq_dsp_gate_sums, x, first, second, out, scratch);
}

DFQ_KERNEL void dfq_gru_s16s8_dsp(const dfq_gru_s16s8_t *gru, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_gru_with(gru, dfq_dsp_gate_sums, x, out, scratch);
}

DFQ_KERNEL void dfq_gru_from_s16s8_dsp(const dfq_gru_s16s8_t *gru, const int8_t *x, const int8_t *first, int8_t *out,
                                       int8_t *scratch)
{
    dfq_gru_from_with(gru, dfq_dsp_gate_sums, x, first, out, scratch);
}

DFQ_KERNEL void dfq_rnn_s16s8_dsp(const dfq_rnn_s16s8_t *rnn, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_rnn_with(rnn, dfq_dsp_gate_sums, x, out, scratch);
}

DFQ_KERNEL void dfq_rnn_from_s16s8_dsp(const dfq_rnn_s16s8_t *rnn, const int8_t *x, const int8_t *first, int8_t *out,
                                       int8_t *scratch)
{
    dfq_rnn_from_with(rnn, dfq_dsp_gate_sums, x, first, out, scratch);
}

#endif
