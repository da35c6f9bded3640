/* SPDX-License-Identifier: MIT-0 */
/* Recurrent layers whose weights have 2, 3, 4 or 6 bits, packed in flash.
 *
 *   x, out, first, second  Arguments are those of dfq_recurrent_s16s8.h
 *   words    the weights in chunks of four rows (dfq_unpack.h)
 *   scratch  dfq_recurrent_s16s8.h's; behind it, word aligned, a chunk of the longest rows
 *
 * Four rows are unpacked at a time, at every step, so that scratch is small. `out` overlaps no input.
 * Equal QLstm, QGru and QRnn bit for bit.
 * Tested by tests/kernels/test_recurrent.py.
 */
#ifndef DFQ_RECURRENT_S16SN_H
#define DFQ_RECURRENT_S16SN_H

#include "dfq_recurrent_s16s8.h"

#define DFQ_GATE_CHUNK 4 /* rows that are unpacked together */

/* The weights of the rows from `row` on, to the end of their chunk, which is unpacked to `bytes`. */
DFQ_INLINE const int8_t *dfq_gate_chunk(const dfq_gate_rows_t *rows, int32_t row, int8_t *bytes)
{
    const int32_t weights = DFQ_GATE_CHUNK * rows->depth;
    const int32_t words = rows->bits * ((weights + DFQ_GROUP - 1) / DFQ_GROUP);
    dfq_unpack(rows->words + row / DFQ_GATE_CHUNK * words, rows->bits, weights, bytes);
    return bytes + row % DFQ_GATE_CHUNK * rows->depth;
}

/* Sums of `count` rows of one chunk over a column, scaled. Those beyond `count` are 0. */
DFQ_INLINE dfq_column_s16_t dfq_gate_unpacked(const dfq_gate_rows_t *rows, const dfq_half_t *column, int32_t row,
                                              int32_t count, int8_t *bytes)
{
    const int8_t *w = dfq_gate_chunk(rows, row, bytes);
    dfq_column_s16_t sums = { 0, 0, 0, 0 };
    if (count == DFQ_GATE_CHUNK) {
        return dfq_gate_four(rows, w, column, row);
    }
    sums.a0 = dfq_gate_one(rows, w, column, row);
    if (count > 1) {
        sums.a1 = dfq_gate_one(rows, w + rows->depth, column, row + 1);
    }
    if (count > 2) {
        sums.a2 = dfq_gate_one(rows, w + 2 * rows->depth, column, row + 2);
    }
    return sums;
}

/* A dfq_gate_sums_t. A chunk that `first` lies within is unpacked, and another time for the rows before. */
DFQ_SHARED void dfq_gate_sums_packed(const dfq_gate_rows_t *a, const dfq_half_t *column, const dfq_gate_rows_t *b,
                                     const dfq_half_t *other, int32_t first, int32_t count, dfq_half_t *sums,
                                     dfq_half_t *spare)
{
    int8_t *const bytes = (int8_t *)spare;
    const int32_t end = first + count;
    for (int32_t row = first; row < end;) {
        const int32_t now = dfq_min(DFQ_GATE_CHUNK - row % DFQ_GATE_CHUNK, end - row);
        dfq_column_s16_t four = dfq_gate_unpacked(a, column, row, now, bytes);
        if (b != NULL) {
            dfq_add_four(&four, dfq_gate_unpacked(b, other, row, now, bytes));
        }
        dfq_half_t saturated[DFQ_GATE_CHUNK];
        dfq_store_four(saturated, four);
        for (int32_t i = 0; i < now; i++) {
            sums[i] = saturated[i];
        }
        row += now;
        sums += now;
    }
}

DFQ_KERNEL void dfq_lstm_s16sn(const dfq_lstm_s16s8_t *lstm, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_lstm_with(lstm, dfq_gate_sums_packed, x, out, scratch);
}

DFQ_KERNEL void dfq_lstm_from_s16sn(const dfq_lstm_s16s8_t *lstm, const int8_t *x, const int8_t *first,
                                    const int8_t *second, int8_t *out, int8_t *scratch)
{
    dfq_lstm_from_with(lstm, dfq_gate_sums_packed, x, first, second, out, scratch);
}

DFQ_KERNEL void dfq_gru_s16sn(const dfq_gru_s16s8_t *gru, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_gru_with(gru, dfq_gate_sums_packed, x, out, scratch);
}

DFQ_KERNEL void dfq_gru_from_s16sn(const dfq_gru_s16s8_t *gru, const int8_t *x, const int8_t *first, int8_t *out,
                                   int8_t *scratch)
{
    dfq_gru_from_with(gru, dfq_gate_sums_packed, x, first, out, scratch);
}

DFQ_KERNEL void dfq_rnn_s16sn(const dfq_rnn_s16s8_t *rnn, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_rnn_with(rnn, dfq_gate_sums_packed, x, out, scratch);
}

DFQ_KERNEL void dfq_rnn_from_s16sn(const dfq_rnn_s16s8_t *rnn, const int8_t *x, const int8_t *first, int8_t *out,
                                   int8_t *scratch)
{
    dfq_rnn_from_with(rnn, dfq_gate_sums_packed, x, first, out, scratch);
}

#endif
