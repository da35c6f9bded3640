/* SPDX-License-Identifier: MIT-0 */
/* Recurrent layers, Helium: LSTM, GRU and the simple RNN as in dfq_recurrent_s16s8.h, whose units and states are even.
 *
 *   x, out, first, second  Arguments are those of dfq_recurrent_s16s8.h
 *   weight   [tile][step][4 rows][16 columns], zeros beyond depth and rows; bias, multipliers  [tile][4]
 *   bias     where columns are int16: with 128 times the sum of the row's weights
 *   scratch  dfq_recurrent_s16s8.h's, and both columns in bytes: 2 * inputs and 2 * width, each a multiple of 16
 *
 * A column of int16 is two of bytes, 256 high + low, that meet the weights as two pixels do in a convolution of int8
 * (dfq_mve_gemm.h); low bytes are 128 less than they are, which the bias makes good. Sums wrap modulo 2^32: the compiler
 * has proved that whole ones fit. `out` overlaps no input.
 * Equal QLstm, QGru and QRnn bit for bit.
 * Tested by tests/kernels/test_mve.py and, on the instructions, test_mve_qemu.py.
 */
#ifndef DFQ_RECURRENT_S16S8_MVE_H
#define DFQ_RECURRENT_S16S8_MVE_H

#include "../portable/dfq_recurrent_s16s8.h"
#include "dfq_mve_gemm.h"

#define DFQ_MVE_GATE_ROWS 64 /* whose sums wait on the stack together */

/* A column as bytes, `pitch` each: the high ones and the low ones, or the only ones. Gives what follows. */
DFQ_INLINE int8_t *dfq_mve_split(const dfq_gate_rows_t *rows, const dfq_half_t *column, int8_t *bytes)
{
    const int32_t pitch = (rows->depth + 15) / 16 * 16;
    int8_t *low = rows->narrow ? bytes : bytes + pitch;
#if DFQ_MVE
    for (int32_t k = 0; k < pitch; k += 8) {
        const mve_pred16_t lanes = vctp16q((uint32_t)dfq_max(rows->depth - k, 0));
        const int16x8_t value = vldrhq_z_s16((const int16_t *)column + k, lanes);
        if (rows->narrow) {
            vstrbq_s16(low + k, value);
        } else {
            vstrbq_s16(low + k, veorq_s16(value, vdupq_n_s16(128)));
            vstrbq_s16(bytes + k, vshrq_n_s16(value, 8));
        }
    }
#else
    for (int32_t k = 0; k < pitch; k++) {
        const int32_t value = k < rows->depth ? column[k] : 0;
        low[k] = (int8_t)(rows->narrow ? value : (value & 255) - 128);
        if (!rows->narrow) {
            bytes[k] = (int8_t)dfq_shift_right(value, 8);
        }
    }
#endif
    return low + pitch;
}

/* What the assembly reads, in this order. */
typedef struct {
    const int8_t *x0, *x1;
    const int8_t *w;
    int32_t tiles;
    int32_t rounds;
    void (*dot)(void);
    int32_t *acc; /* [tile][pixel][4] */
} dfq_mve_gate_job_t;

#if DFQ_MVE

/* Two columns of bytes. */
DFQ_MVE_NAKED void dfq_mve_gate_pair(DFQ_UNUSED const dfq_mve_gate_job_t *job)
{
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "vpush {d8-d15}\n\t"
                     "ldrd r1, r3, [r0]\n\t"
                     "ldrd r5, r9, [r0, #8]\n\t"
                     "ldrd r11, r2, [r0, #16]\n\t"
                     "ldr r7, [r0, #24]\n\t"
                     "blx r2\n\t"
                     "vpop {d8-d15}\n\t"
                     "pop {r4-r11, pc}");
}

/* One column: `rounds` is steps - 1. */
DFQ_MVE_NAKED void dfq_mve_gate_single(DFQ_UNUSED const dfq_mve_gate_job_t *job)
{
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "ldr r2, [r0]\n\t"
                     "ldrd r5, r9, [r0, #8]\n\t"
                     "ldr r11, [r0, #16]\n\t"
                     "ldr r7, [r0, #24]\n\t"
                     "1:\n\t"
                     "mov r1, r2\n\t" DFQ_MVE_STEP_1("") "wls lr, r11, 3f\n\t"
                                                         "2:\n\t" DFQ_MVE_STEP_1("a") "le lr, 2b\n\t"
                                                                                      "3:\n\t"
                                                                                      "stmia r7!, {r4, r6, r8, r10}\n\t"
                                                                                      "subs r9, #1\n\t"
                                                                                      "bne 1b\n\t"
                                                                                      "pop {r4-r11, pc}");
}

#endif

/* Sums of `count` rows, whose weights are at `w`, without their biases: [tile][high, low][4], or [tile][4]. */
DFQ_INLINE void dfq_mve_gate_dots(const dfq_gate_rows_t *rows, const int8_t *w, const int8_t *bytes, int32_t count,
                                  int32_t *acc)
{
    const int32_t steps = (rows->depth + 15) / 16;
#if DFQ_MVE
    const dfq_mve_gate_job_t job = {
        .x0 = bytes,
        .x1 = bytes + 16 * steps,
        .w = w,
        .tiles = (count + 3) / 4,
        .rounds = rows->narrow ? steps - 1 : dfq_mve_rounds_of(steps),
        .dot = dfq_mve_dot_of(steps),
        .acc = acc,
    };
    if (rows->narrow) {
        dfq_mve_gate_single(&job);
    } else {
        dfq_mve_gate_pair(&job);
    }
#else
    const int32_t columns = rows->narrow ? 1 : 2;
    for (int32_t row = 0; row < count; row++) {
        for (int32_t p = 0; p < columns; p++) {
            int32_t sum = 0;
            for (int32_t k = 0; k < 16 * steps; k++) {
                sum += bytes[16 * steps * p + k] * w[(row / 4 * steps + k / 16) * 64 + row % 4 * 16 + k % 16];
            }
            acc[(row / 4 * columns + p) * 4 + row % 4] = sum;
        }
    }
#endif
}

/* Sums of `count` rows from `first` on, scaled, and those of `add`, where there is one, added: saturated to `sums`, or, where
 * that is NULL, over the accumulators they are of.
 */
DFQ_INLINE void dfq_mve_gate_scale(const dfq_gate_rows_t *rows, bool narrow, int32_t first, int32_t count,
                                   const int32_t *add, int32_t *acc, dfq_half_t *sums)
{
    const int32_t *bias = rows->bias + first, *multipliers = rows->multipliers + first;
    const int32_t *from = acc;
    DFQ_UNROLL(1)
    for (int32_t k = 0; k < count; k += 4) {
#if DFQ_MVE
        int32x4_t sum = vldrwq_s32(from);
        sum = narrow ? sum : vaddq_s32(vshlq_n_s32(sum, 8), vldrwq_s32(from + 4));
        sum = vshlq_r_s32(vaddq_s32(sum, vldrwq_s32(bias + k)), rows->pre_shift);
        sum = vrmulhq_s32(sum, vldrwq_s32(multipliers + k));
        sum = add == NULL ? sum : vaddq_s32(sum, vldrwq_s32(add + k));
        if (sums == NULL) {
            vstrwq_s32(acc + k, sum);
        } else {
            const int16x8_t halves = vqmovnbq_s32(vreinterpretq_s16_s32(sum), sum);
            vstrhq_p_s32((int16_t *)sums + k, vreinterpretq_s32_s16(halves), vctp32q((uint32_t)(count - k)));
        }
#else
        for (int32_t i = 0; i < 4 && k + i < count; i++) {
            const uint32_t high = narrow ? 0u : 256u * (uint32_t)from[i];
            const uint32_t acc_of_row = high + (uint32_t)from[narrow ? i : 4 + i] + (uint32_t)bias[k + i];
            const int32_t shifted = (int32_t)(acc_of_row << rows->pre_shift);
            const int32_t sum = dfq_multiply_round(shifted, multipliers[k + i]) + (add == NULL ? 0 : add[k + i]);
            if (sums == NULL) {
                acc[k + i] = sum;
            } else {
                sums[k + i] = (dfq_half_t)dfq_saturate_16(sum);
            }
        }
#endif
        from += narrow ? 4 : 8;
    }
}

/* The weights of `count` rows from `first` on, in tiles; `unpacked` is scratch for those that are not in flash so. */
typedef const int8_t *(*dfq_mve_gate_weights_t)(const dfq_gate_rows_t *rows, int32_t first, int32_t count,
                                                int8_t *unpacked);

DFQ_INLINE const int8_t *dfq_mve_gate_weights(const dfq_gate_rows_t *rows, int32_t first, DFQ_UNUSED int32_t count,
                                              DFQ_UNUSED int8_t *unpacked)
{
    return rows->weight + first * ((rows->depth + 15) / 16 * 16);
}

/* A dfq_gate_sums_t but for `weights`, of which those of `together` rows are used at a time, 64 at most; `first` is a
 * multiple of four. */
DFQ_INLINE void dfq_mve_gate_sums_by(dfq_mve_gate_weights_t weights, int32_t together, const dfq_gate_rows_t *a,
                                     const dfq_half_t *column, const dfq_gate_rows_t *b, const dfq_half_t *other,
                                     int32_t first, int32_t count, dfq_half_t *sums, dfq_half_t *spare)
{
    int32_t acc[2 * DFQ_MVE_GATE_ROWS], more[2 * DFQ_MVE_GATE_ROWS];
    int8_t *const bytes = (int8_t *)spare;
    int8_t *const others = dfq_mve_split(a, column, bytes);
    int8_t *const unpacked = b == NULL ? others : dfq_mve_split(b, other, others);
    for (int32_t done = 0; done < count; done += together) {
        const int32_t now = dfq_min(count - done, together);
        const int32_t from = first + done;
        dfq_half_t *const alone = b == NULL ? sums + done : NULL;
        dfq_mve_gate_dots(a, weights(a, from, now, unpacked), bytes, now, acc);
        if (a->narrow) {
            dfq_mve_gate_scale(a, true, from, now, NULL, acc, alone);
        } else {
            dfq_mve_gate_scale(a, false, from, now, NULL, acc, alone);
        }
        if (b != NULL) {
            dfq_mve_gate_dots(b, weights(b, from, now, unpacked), others, now, more);
            dfq_mve_gate_scale(b, false, from, now, acc, more, sums + done);
        }
    }
}

DFQ_SHARED void dfq_mve_gate_sums(const dfq_gate_rows_t *a, const dfq_half_t *column, const dfq_gate_rows_t *b,
                                  const dfq_half_t *other, int32_t first, int32_t count, dfq_half_t *sums,
                                  dfq_half_t *spare)
{
    dfq_mve_gate_sums_by(dfq_mve_gate_weights, DFQ_MVE_GATE_ROWS, a, column, b, other, first, count, sums, spare);
}

DFQ_KERNEL void dfq_lstm_s16s8_mve(const dfq_lstm_s16s8_t *lstm, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_lstm_with(lstm, dfq_mve_gate_sums, x, out, scratch);
}

DFQ_KERNEL void dfq_lstm_from_s16s8_mve(const dfq_lstm_s16s8_t *lstm, const int8_t *x, const int8_t *first,
                                        const int8_t *second, int8_t *out, int8_t *scratch)
{
    dfq_lstm_from_with(lstm, dfq_mve_gate_sums, x, first, second, out, scratch);
}

DFQ_KERNEL void dfq_gru_s16s8_mve(const dfq_gru_s16s8_t *gru, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_gru_with(gru, dfq_mve_gate_sums, x, out, scratch);
}

DFQ_KERNEL void dfq_gru_from_s16s8_mve(const dfq_gru_s16s8_t *gru, const int8_t *x, const int8_t *first, int8_t *out,
                                       int8_t *scratch)
{
    dfq_gru_from_with(gru, dfq_mve_gate_sums, x, first, out, scratch);
}

DFQ_KERNEL void dfq_rnn_s16s8_mve(const dfq_rnn_s16s8_t *rnn, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_rnn_with(rnn, dfq_mve_gate_sums, x, out, scratch);
}

DFQ_KERNEL void dfq_rnn_from_s16s8_mve(const dfq_rnn_s16s8_t *rnn, const int8_t *x, const int8_t *first, int8_t *out,
                                       int8_t *scratch)
{
    dfq_rnn_from_with(rnn, dfq_mve_gate_sums, x, first, out, scratch);
}

#endif
