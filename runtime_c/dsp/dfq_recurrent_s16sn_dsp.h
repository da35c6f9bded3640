/* SPDX-License-Identifier: MIT-0 */
/* Recurrent layers whose weights have 4 or 2 bits, Arm DSP extension; units and states are even.
 *
 *   x, out, first, second  Arguments are those of dfq_recurrent_s16s8.h
 *   stream   for each block of four rows 4 biases; a word of each row for 8 inputs, or for 16 of 2-bit weights; 4
 *            multipliers. Inputs are rounded up to whole words, with zeros, as are rows
 *   scratch  dfq_recurrent_s16s8.h's, and what a column lacks to whole words of weights
 *
 * A field i of `bits` bits in the lower half of a word is weight 2 i of those it has, that in the upper half weight
 * 2 i + 1, each stored as w + 2^(bits - 1): so a shift and a mask, one instruction, give a pair for SMLAD. Sums are too
 * large by 2^(bits - 1) times the sum of the column, which is subtracted; they wrap modulo 2^32 meanwhile. `out`
 * overlaps no input.
 * Equal QLstm, QGru and QRnn bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_RECURRENT_S16SN_DSP_H
#define DFQ_RECURRENT_S16SN_DSP_H

#include "dfq_recurrent_s16s8_dsp.h"

/* What the assembly reads, in this order. */
typedef struct {
    const dfq_half_t *x_end; /* end of the column */
    int32_t excess;          /* of every sum */
    int32_t pre_shift;
    int32_t *sums; /* [blocks][4], to be added to */
    int32_t blocks;
    const int32_t *stream;
} dfq_dsp_fields_args_t;

#if DFQ_DSP_ASM

/* clang-format off */
/* A row's word and eight inputs. */
#define DFQ_DSP_FIELDS_ROW(acc, word, shift0, shift1, shift2, shift3)     \
    "and lr, r10, " word shift0 "\n"                                      \
    "smlad " acc ", r2, lr, " acc "\n"                                    \
    "and lr, r10, " word shift1 "\n"                                      \
    "smlad " acc ", r3, lr, " acc "\n"                                    \
    "and lr, r10, " word shift2 "\n"                                      \
    "smlad " acc ", r4, lr, " acc "\n"                                    \
    "and lr, r10, " word shift3 "\n"                                      \
    "smlad " acc ", r5, lr, " acc "\n"

/* Eight inputs: 16 multiply-accumulates of two in 35 instructions. */
#define DFQ_DSP_FIELDS_STEP(first_words, last_words, ...)                 \
    "ldm r0!, {r2, r3, r4, r5}\n"                                         \
    "ldrd r11, r12, " first_words "\n"                                    \
    DFQ_DSP_FIELDS_ROW("r6", "r11", __VA_ARGS__)                          \
    DFQ_DSP_FIELDS_ROW("r7", "r12", __VA_ARGS__)                          \
    "ldrd r11, r12, " last_words "\n"                                     \
    DFQ_DSP_FIELDS_ROW("r8", "r11", __VA_ARGS__)                          \
    DFQ_DSP_FIELDS_ROW("r9", "r12", __VA_ARGS__)

#define DFQ_DSP_FIELDS_4                                                  \
    DFQ_DSP_FIELDS_STEP("[r1], #8", "[r1], #8", "", ", lsr #4", ", lsr #8", ", lsr #12")
#define DFQ_DSP_FIELDS_2                                                  \
    DFQ_DSP_FIELDS_STEP("[r1]", "[r1, #8]", "", ", lsr #2", ", lsr #4", ", lsr #6") \
    DFQ_DSP_FIELDS_STEP("[r1], #8", "[r1], #8", ", lsr #8", ", lsr #10", ", lsr #12", ", lsr #14")

/* Frame: x, x_end, excess, pre_shift, sums, blocks. */
#define DFQ_DSP_FIELDS_BLOCKS(mask, step)                                 \
    __asm__ volatile("push {r4-r11, lr}\n"                                \
                     "ldm r1, {r3, r4, r5, r6, r7, r8}\n"                 \
                     "mov r1, r8\n"                                       \
                     "push {r0, r3, r4, r5, r6, r7}\n"                    \
                     "1:\n"                                               \
                     "mov.w r10, #" mask "\n"                             \
                     "ldr r2, [sp, #8]\n"                                 \
                     "ldm r1!, {r6, r7, r8, r9}\n"                        \
                     "subs r6, r6, r2\n"                                  \
                     "subs r7, r7, r2\n"                                  \
                     "sub.w r8, r8, r2\n"                                 \
                     "sub.w r9, r9, r2\n"                                 \
                     "2:\n"                                               \
                     step                                                 \
                     "ldr.w r11, [sp, #4]\n"                              \
                     "cmp r0, r11\n"                                      \
                     "bne 2b\n"                                           \
                     "ldrd r2, r12, [sp, #12]\n"                          \
                     "lsl r6, r6, r2\n"                                   \
                     "lsl r7, r7, r2\n"                                   \
                     "lsl r8, r8, r2\n"                                   \
                     "lsl r9, r9, r2\n"                                   \
                     "ldm r1!, {r2, r3, r4, r5}\n"                        \
                     "ldm r12, {r0, r10, r11, lr}\n"                      \
                     "smmlar r6, r6, r2, r0\n"                            \
                     "smmlar r7, r7, r3, r10\n"                           \
                     "smmlar r8, r8, r4, r11\n"                           \
                     "smmlar r9, r9, r5, lr\n"                            \
                     "stm r12!, {r6, r7, r8, r9}\n"                       \
                     "ldr r6, [sp, #20]\n"                                \
                     "ldr r0, [sp]\n"                                     \
                     "str.w r12, [sp, #16]\n"                             \
                     "subs r6, r6, #1\n"                                  \
                     "str r6, [sp, #20]\n"                                \
                     "bne 1b\n"                                           \
                     "add sp, sp, #24\n"                                  \
                     "pop {r4-r11, pc}\n")

DFQ_DSP_NAKED void dfq_dsp_fields_4(const dfq_half_t *x DFQ_UNUSED, const dfq_dsp_fields_args_t *args DFQ_UNUSED)
{
    DFQ_DSP_FIELDS_BLOCKS("0x000f000f", DFQ_DSP_FIELDS_4);
}

DFQ_DSP_NAKED void dfq_dsp_fields_2(const dfq_half_t *x DFQ_UNUSED, const dfq_dsp_fields_args_t *args DFQ_UNUSED)
{
    DFQ_DSP_FIELDS_BLOCKS("0x00030003", DFQ_DSP_FIELDS_2);
}
/* clang-format on */

#else /* the same in C */

DFQ_INLINE void dfq_dsp_fields(int32_t bits, const dfq_half_t *x, const dfq_dsp_fields_args_t *args)
{
    const uint32_t mask = ((1u << bits) - 1u) * 0x00010001u;
    const int32_t *stream = args->stream;
    for (int32_t block = 0; block < args->blocks; block++) {
        int32_t acc[4];
        for (int32_t i = 0; i < 4; i++) {
            acc[i] = (int32_t)((uint32_t)stream[i] - (uint32_t)args->excess);
        }
        stream += 4;
        for (const dfq_half_t *column = x; column < args->x_end; column += 32 / bits, stream += 4) {
            for (int32_t i = 0; i < 16 / bits; i++) {
                const uint32_t pair = dfq_dsp_halves(column[2 * i], column[2 * i + 1]);
                for (int32_t row = 0; row < 4; row++) {
                    acc[row] = dfq_dsp_mac(pair, (uint32_t)stream[row] >> (bits * i) & mask, acc[row]);
                }
            }
        }
        for (int32_t i = 0; i < 4; i++) {
            const int32_t shifted = (int32_t)((uint32_t)acc[i] << args->pre_shift);
            int32_t *const sum = args->sums + 4 * block + i;
            *sum = dfq_dsp_scale(shifted, stream[i], *sum);
        }
        stream += 4;
    }
}

DFQ_INLINE void dfq_dsp_fields_4(const dfq_half_t *x, const dfq_dsp_fields_args_t *args)
{
    dfq_dsp_fields(4, x, args);
}

DFQ_INLINE void dfq_dsp_fields_2(const dfq_half_t *x, const dfq_dsp_fields_args_t *args)
{
    dfq_dsp_fields(2, x, args);
}

#endif

/* The sum of a column's elements, whose number is a multiple of four. */
DFQ_INLINE uint32_t dfq_dsp_column_sum(const dfq_half_t *column, const dfq_half_t *end)
{
    int32_t even = 0, odd = 0;
    for (; column != end; column += 4) {
        even = dfq_dsp_mac(dfq_dsp_load((const int8_t *)column), 0x00010001u, even);
        odd = dfq_dsp_mac(dfq_dsp_load((const int8_t *)(column + 2)), 0x00010001u, odd);
    }
    return (uint32_t)even + (uint32_t)odd;
}

/* A dfq_dsp_gate_part_t. What follows a column counts in the sum as it does in the products with zeros. */
DFQ_INLINE void dfq_dsp_gate_part_fields(const dfq_gate_rows_t *rows, const dfq_half_t *column, int32_t first,
                                         int32_t count, int32_t *sums)
{
    const int32_t inputs = 32 / rows->bits;
    const int32_t steps = (rows->depth + inputs - 1) / inputs;
    const dfq_half_t *const end = column + inputs * steps;
    const dfq_dsp_fields_args_t args = {
        .x_end = end,
        .excess = (int32_t)(dfq_dsp_column_sum(column, end) << (rows->bits - 1)),
        .pre_shift = rows->pre_shift,
        .sums = sums,
        .blocks = (count + 3) / 4,
        .stream = rows->stream + first / 4 * (4 * steps + 8),
    };
    if (rows->bits == 4) {
        dfq_dsp_fields_4(column, &args);
    } else {
        dfq_dsp_fields_2(column, &args);
    }
}

/* A dfq_gate_sums_t as dfq_dsp_gate_sums_by. */
DFQ_SHARED void dfq_dsp_gate_sums_fields(const dfq_gate_rows_t *a, const dfq_half_t *column, const dfq_gate_rows_t *b,
                                         const dfq_half_t *other, int32_t first, int32_t count, dfq_half_t *sums,
                                         DFQ_UNUSED dfq_half_t *spare)
{
    dfq_dsp_gate_sums_by(dfq_dsp_gate_part_fields, a, column, b, other, first, count, sums);
}

DFQ_KERNEL void dfq_lstm_s16sn_dsp(const dfq_lstm_s16s8_t *lstm, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_lstm_with(lstm, dfq_dsp_gate_sums_fields, x, out, scratch);
}

DFQ_KERNEL void dfq_lstm_from_s16sn_dsp(const dfq_lstm_s16s8_t *lstm, const int8_t *x, const int8_t *first,
                                        const int8_t *second, int8_t *out, int8_t *scratch)
{
    dfq_lstm_from_with(lstm, dfq_dsp_gate_sums_fields, x, first, second, out, scratch);
}

DFQ_KERNEL void dfq_gru_s16sn_dsp(const dfq_gru_s16s8_t *gru, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_gru_with(gru, dfq_dsp_gate_sums_fields, x, out, scratch);
}

DFQ_KERNEL void dfq_gru_from_s16sn_dsp(const dfq_gru_s16s8_t *gru, const int8_t *x, const int8_t *first, int8_t *out,
                                       int8_t *scratch)
{
    dfq_gru_from_with(gru, dfq_dsp_gate_sums_fields, x, first, out, scratch);
}

DFQ_KERNEL void dfq_rnn_s16sn_dsp(const dfq_rnn_s16s8_t *rnn, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_rnn_with(rnn, dfq_dsp_gate_sums_fields, x, out, scratch);
}

DFQ_KERNEL void dfq_rnn_from_s16sn_dsp(const dfq_rnn_s16s8_t *rnn, const int8_t *x, const int8_t *first, int8_t *out,
                                       int8_t *scratch)
{
    dfq_rnn_from_with(rnn, dfq_dsp_gate_sums_fields, x, first, out, scratch);
}

#endif
