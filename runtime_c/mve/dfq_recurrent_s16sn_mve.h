/* SPDX-License-Identifier: MIT-0 */
/* Recurrent layers whose weights have 2, 3, 4 or 6 bits, Helium; units and states are even.
 *
 *   x, out, first, second  Arguments are those of dfq_recurrent_s16s8.h
 *   words    the weights of dfq_recurrent_s16s8_mve.h, packed (dfq_mve_unpack.h)
 *   scratch  dfq_recurrent_s16s8_mve.h's, and 16 unpacked rows of the longest ones and a group
 *
 * `out` overlaps no input.
 * Equal QLstm, QGru and QRnn bit for bit.
 * Tested by tests/kernels/test_mve.py and, on the instructions, test_mve_qemu.py.
 */
#ifndef DFQ_RECURRENT_S16SN_MVE_H
#define DFQ_RECURRENT_S16SN_MVE_H

#include "dfq_mve_unpack.h"
#include "dfq_recurrent_s16s8_mve.h"

#define DFQ_MVE_UNPACKED_ROWS 16

/* A dfq_mve_gate_weights_t. A group of packed weights may begin before them. */
DFQ_INLINE const int8_t *dfq_mve_gate_unpack(const dfq_gate_rows_t *rows, int32_t first, int32_t count,
                                             int8_t *unpacked)
{
    const int32_t pitch = (rows->depth + 15) / 16 * 16;
    const int32_t before = first * pitch % DFQ_MVE_GROUP;
    const uint8_t *from = (const uint8_t *)rows->words + (first * pitch - before) / 8 * rows->bits;
    dfq_mve_unpack(from, rows->bits, before + (count + 3) / 4 * 4 * pitch, unpacked);
    return unpacked + before;
}

/* A dfq_gate_sums_t. */
DFQ_SHARED void dfq_mve_gate_sums_packed(const dfq_gate_rows_t *a, const dfq_half_t *column, const dfq_gate_rows_t *b,
                                         const dfq_half_t *other, int32_t first, int32_t count, dfq_half_t *sums,
                                         dfq_half_t *spare)
{
    dfq_mve_gate_sums_by(dfq_mve_gate_unpack, DFQ_MVE_UNPACKED_ROWS, a, column, b, other, first, count, sums, spare);
}

DFQ_KERNEL void dfq_lstm_s16sn_mve(const dfq_lstm_s16s8_t *lstm, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_lstm_with(lstm, dfq_mve_gate_sums_packed, x, out, scratch);
}

DFQ_KERNEL void dfq_lstm_from_s16sn_mve(const dfq_lstm_s16s8_t *lstm, const int8_t *x, const int8_t *first,
                                        const int8_t *second, int8_t *out, int8_t *scratch)
{
    dfq_lstm_from_with(lstm, dfq_mve_gate_sums_packed, x, first, second, out, scratch);
}

DFQ_KERNEL void dfq_gru_s16sn_mve(const dfq_gru_s16s8_t *gru, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_gru_with(gru, dfq_mve_gate_sums_packed, x, out, scratch);
}

DFQ_KERNEL void dfq_gru_from_s16sn_mve(const dfq_gru_s16s8_t *gru, const int8_t *x, const int8_t *first, int8_t *out,
                                       int8_t *scratch)
{
    dfq_gru_from_with(gru, dfq_mve_gate_sums_packed, x, first, out, scratch);
}

DFQ_KERNEL void dfq_rnn_s16sn_mve(const dfq_rnn_s16s8_t *rnn, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_rnn_with(rnn, dfq_mve_gate_sums_packed, x, out, scratch);
}

DFQ_KERNEL void dfq_rnn_from_s16sn_mve(const dfq_rnn_s16s8_t *rnn, const int8_t *x, const int8_t *first, int8_t *out,
                                       int8_t *scratch)
{
    dfq_rnn_from_with(rnn, dfq_mve_gate_sums_packed, x, first, out, scratch);
}

#endif
