/* SPDX-License-Identifier: MIT-0 */
/* Recurrent layers over a sequence: LSTM, GRU and the simple RNN. Inputs and outputs are int8 or int16 each, weights int8;
 * states and all that lies between are int16 with a binary point.
 *
 *   x          [steps][inputs], 2-byte aligned where int16
 *   weights    [gates][units][inputs] and [gates][units][width], gates in ONNX's order: i o f g, z r n, h
 *   first, second   initial states [width] and [units], for the functions with `_from`; zeros for the others
 *   out        [steps][width], or the last step's alone, perhaps with the cell's behind it; disjoint from all inputs
 *   scratch    a step's inputs, the states, the gates' sums, all int16 (see each function)
 *
 * The compiler has proved from the real weights that no sum leaves 32 bits. Equal QLstm, QGru and QRnn bit for bit.
 * Tested by tests/kernels/test_recurrent.py.
 */
#ifndef DFQ_RECURRENT_S16S8_H
#define DFQ_RECURRENT_S16S8_H

#include "dfq_conv2d_s16sn.h"
#include "dfq_gates.h"

/* Rows of weights over a column: ((bias + sum weight * column << pre_shift) * multiplier + 2^31) >> 32. */
typedef struct {
    const DFQ_FLASH int8_t *weight;
    const DFQ_FLASH int32_t *bias;
    const DFQ_FLASH int32_t *multipliers;
    const DFQ_FLASH int32_t *stream; /* the three in one, for kernels that read them so */
    int32_t pre_shift;
    int32_t depth;
    int32_t narrow;                  /* 1: columns are int8 in int16, where that is known */
    const DFQ_FLASH uint32_t *words; /* weights of fewer bits than eight, for kernels that unpack them */
    int32_t bits;                    /* of the weights, where they are fewer than eight */
} dfq_gate_rows_t;

/* Rows first .. first + count of sums over one column, or over two that are added: to `sums`, saturated. `spare` is
 * scratch for functions that need some. */
typedef void (*dfq_gate_sums_t)(const dfq_gate_rows_t *a, const dfq_half_t *column, const dfq_gate_rows_t *b,
                                const dfq_half_t *other, int32_t first, int32_t count, dfq_half_t *sums,
                                dfq_half_t *spare);

/* What all recurrent layers have. `last` gives the last step alone. */
typedef struct {
    dfq_gate_rows_t of_input;
    dfq_gate_rows_t of_state;
    dfq_conversion_t end;
    const DFQ_FLASH int16_t *tanh; /* [513]: tanh of 0, 1/64 ... 8, 15 bits */
    int32_t steps, units;
    int32_t in_wide, out_wide;
    int32_t reverse, last;
} dfq_recurrent_t;

DFQ_INLINE int32_t dfq_scale_sum(const dfq_gate_rows_t *rows, int32_t acc, int32_t row)
{
    return dfq_multiply_round(acc * (int32_t)((uint32_t)1 << rows->pre_shift), rows->multipliers[row]);
}

/* Sums of the four rows from `row` on, whose weights are at `w`, over a column, scaled. */
DFQ_INLINE dfq_column_s16_t dfq_gate_four(const dfq_gate_rows_t *rows, const DFQ_FLASH int8_t *w,
                                          const dfq_half_t *column, int32_t row)
{
    dfq_column_s16_t acc = { rows->bias[row], rows->bias[row + 1], rows->bias[row + 2], rows->bias[row + 3] };
    acc = dfq_dot_1x4_s16(acc, column, w, rows->depth);
    acc.a0 = dfq_scale_sum(rows, acc.a0, row);
    acc.a1 = dfq_scale_sum(rows, acc.a1, row + 1);
    acc.a2 = dfq_scale_sum(rows, acc.a2, row + 2);
    acc.a3 = dfq_scale_sum(rows, acc.a3, row + 3);
    return acc;
}

/* The same of one row. */
DFQ_INLINE int32_t dfq_gate_one(const dfq_gate_rows_t *rows, const DFQ_FLASH int8_t *w, const dfq_half_t *column,
                                int32_t row)
{
    int32_t acc = rows->bias[row];
    for (int32_t k = 0; k < rows->depth; k++) {
        acc += (int32_t)column[k] * w[k];
    }
    return dfq_scale_sum(rows, acc, row);
}

DFQ_INLINE void dfq_add_four(dfq_column_s16_t *to, dfq_column_s16_t more)
{
    to->a0 += more.a0;
    to->a1 += more.a1;
    to->a2 += more.a2;
    to->a3 += more.a3;
}

DFQ_INLINE void dfq_store_four(dfq_half_t *sums, dfq_column_s16_t four)
{
    sums[0] = (dfq_half_t)dfq_saturate_16(four.a0);
    sums[1] = (dfq_half_t)dfq_saturate_16(four.a1);
    sums[2] = (dfq_half_t)dfq_saturate_16(four.a2);
    sums[3] = (dfq_half_t)dfq_saturate_16(four.a3);
}

/* A dfq_gate_sums_t of rows one after the other. */
DFQ_SHARED void dfq_gate_sums(const dfq_gate_rows_t *a, const dfq_half_t *column, const dfq_gate_rows_t *b,
                              const dfq_half_t *other, int32_t first, int32_t count, dfq_half_t *sums,
                              DFQ_UNUSED dfq_half_t *spare)
{
    const int32_t end = first + count;
    int32_t row = first;
    for (; row + 4 <= end; row += 4, sums += 4) {
        dfq_column_s16_t four = dfq_gate_four(a, a->weight + row * a->depth, column, row);
        if (b != NULL) {
            dfq_add_four(&four, dfq_gate_four(b, b->weight + row * b->depth, other, row));
        }
        dfq_store_four(sums, four);
    }
    for (; row < end; row++, sums++) {
        int32_t sum = dfq_gate_one(a, a->weight + row * a->depth, column, row);
        if (b != NULL) {
            sum += dfq_gate_one(b, b->weight + row * b->depth, other, row);
        }
        *sums = (dfq_half_t)dfq_saturate_16(sum);
    }
}

/* Scratch behind the halves that are used, word aligned: what a dfq_gate_sums_t has to spare. */
DFQ_INLINE dfq_half_t *dfq_gate_spare(dfq_half_t *scratch, int32_t used)
{
    return scratch + (used + 1) / 2 * 2;
}

/* The place of step `index` of those done, in the order of the sequence. */
DFQ_INLINE int32_t dfq_step_place(const dfq_recurrent_t *layer, int32_t index)
{
    return layer->reverse ? layer->steps - 1 - index : index;
}

DFQ_INLINE void dfq_load_step(const dfq_recurrent_t *layer, const int8_t *x, int32_t index, dfq_half_t *column)
{
    const int32_t depth = layer->of_input.depth;
    dfq_widen_run(column, x, layer->in_wide, dfq_step_place(layer, index) * depth, depth);
}

/* A state as elements of the output from `place` on. */
DFQ_INLINE void dfq_store_state(const dfq_recurrent_t *layer, const dfq_conversion_t *form, const dfq_half_t *state,
                                int32_t width, int32_t place, int8_t *out)
{
    dfq_convert_states(form, state, width, layer->out_wide, layer->out_wide ? out + 2 * place : out + place);
}

/* The state that the output has, after step `index`. */
DFQ_INLINE void dfq_store_step(const dfq_recurrent_t *layer, const dfq_half_t *state, int32_t index, int32_t width,
                               int8_t *out)
{
    if (layer->last && index + 1 < layer->steps) {
        return;
    }
    dfq_store_state(layer, &layer->end, state, width, layer->last ? 0 : dfq_step_place(layer, index) * width, out);
}

/* How an initial state, int8 or int16, becomes the layer's. */
typedef struct {
    dfq_conversion_t form;
    int32_t wide;
} dfq_start_t;

DFQ_INLINE void dfq_start_state(const dfq_start_t *start, const int8_t *from, int32_t width, dfq_half_t *state)
{
    for (int32_t k = 0; k < width; k++) {
        state[k] = (dfq_half_t)dfq_convert_state(&start->form, dfq_load(from, start->wide, k));
    }
}

/* --- LSTM --- */

typedef struct {
    dfq_recurrent_t layer;
    dfq_start_t first, second;
    dfq_gate_rows_t projection; /* depth 0: none */
    dfq_cell_t cell;
    int32_t gives_cell;
    int32_t gives_both; /* the last step's h, and behind it c through `cell_end` */
    dfq_conversion_t cell_end;
} dfq_lstm_s16s8_t;

/* All steps. scratch: h [width], c [units], m [units] where there is a projection, sums [4][units], x [inputs]. */
DFQ_PART void dfq_lstm_steps(const dfq_lstm_s16s8_t *lstm, dfq_gate_sums_t gate_sums, const int8_t *x, int8_t *out,
                             dfq_half_t *h)
{
    const dfq_recurrent_t *layer = &lstm->layer;
    const int32_t units = layer->units, width = layer->of_state.depth;
    dfq_half_t *c = h + width;
    dfq_half_t *m = lstm->projection.depth != 0 ? c + units : h;
    dfq_half_t *sums = (lstm->projection.depth != 0 ? m : c) + units;
    dfq_half_t *column = sums + 4 * units;
    dfq_half_t *spare = dfq_gate_spare(h, (int32_t)(column - h) + layer->of_input.depth);
    for (int32_t index = 0; index < layer->steps; index++) {
        dfq_load_step(layer, x, index, column);
        gate_sums(&layer->of_input, column, &layer->of_state, h, 0, 4 * units, sums, spare);
        dfq_lstm_cell(&lstm->cell, layer->tanh, sums, units, c, m);
        if (lstm->projection.depth != 0) {
            gate_sums(&lstm->projection, m, NULL, NULL, 0, width, h, spare);
        }
        dfq_store_step(layer, lstm->gives_cell ? c : h, index, lstm->gives_cell ? units : width, out);
    }
    if (lstm->gives_both) {
        dfq_store_state(layer, &lstm->cell_end, c, units, width, out);
    }
}

/* From zeros, and from given states. */
DFQ_INLINE void dfq_lstm_with(const dfq_lstm_s16s8_t *lstm, dfq_gate_sums_t gate_sums, const int8_t *x, int8_t *out,
                              int8_t *scratch)
{
    dfq_half_t *h = (dfq_half_t *)(void *)scratch;
    dfq_fill_halves(h, 0, lstm->layer.of_state.depth + lstm->layer.units);
    dfq_lstm_steps(lstm, gate_sums, x, out, h);
}

DFQ_INLINE void dfq_lstm_from_with(const dfq_lstm_s16s8_t *lstm, dfq_gate_sums_t gate_sums, const int8_t *x,
                                   const int8_t *first, const int8_t *second, int8_t *out, int8_t *scratch)
{
    dfq_half_t *h = (dfq_half_t *)(void *)scratch;
    dfq_start_state(&lstm->first, first, lstm->layer.of_state.depth, h);
    dfq_start_state(&lstm->second, second, lstm->layer.units, h + lstm->layer.of_state.depth);
    dfq_lstm_steps(lstm, gate_sums, x, out, h);
}

DFQ_KERNEL void dfq_lstm_s16s8(const dfq_lstm_s16s8_t *lstm, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_lstm_with(lstm, dfq_gate_sums, x, out, scratch);
}

DFQ_KERNEL void dfq_lstm_from_s16s8(const dfq_lstm_s16s8_t *lstm, const int8_t *x, const int8_t *first,
                                    const int8_t *second, int8_t *out, int8_t *scratch)
{
    dfq_lstm_from_with(lstm, dfq_gate_sums, x, first, second, out, scratch);
}

/* --- GRU --- */

typedef struct {
    dfq_recurrent_t layer;
    dfq_start_t first;
    int32_t reset_after;
} dfq_gru_s16s8_t;

/* All steps. scratch: h [units], sums [3][units], fed [units], x [inputs]. */
DFQ_PART void dfq_gru_steps(const dfq_gru_s16s8_t *gru, dfq_gate_sums_t gate_sums, const int8_t *x, int8_t *out,
                            dfq_half_t *h)
{
    const dfq_recurrent_t *layer = &gru->layer;
    const DFQ_FLASH int16_t *table = layer->tanh;
    const int32_t units = layer->units;
    dfq_half_t *sums = h + units;
    dfq_half_t *last = sums + 2 * units;
    dfq_half_t *fed = sums + 3 * units;
    dfq_half_t *column = fed + units;
    dfq_half_t *spare = dfq_gate_spare(h, (int32_t)(column - h) + layer->of_input.depth);
    for (int32_t index = 0; index < layer->steps; index++) {
        dfq_load_step(layer, x, index, column);
        gate_sums(&layer->of_input, column, &layer->of_state, h, 0, 2 * units, sums, spare);
        if (gru->reset_after) {
            gate_sums(&layer->of_input, column, NULL, NULL, 2 * units, units, last, spare);
            gate_sums(&layer->of_state, h, NULL, NULL, 2 * units, units, fed, spare);
            dfq_gru_reset_after(table, sums + units, fed, units, last);
        } else {
            dfq_gru_reset(table, sums + units, h, units, fed);
            gate_sums(&layer->of_input, column, &layer->of_state, fed, 2 * units, units, last, spare);
        }
        dfq_gru_update(table, sums, last, units, h);
        dfq_store_step(layer, h, index, units, out);
    }
}

/* From zeros, and from given states. */
DFQ_INLINE void dfq_gru_with(const dfq_gru_s16s8_t *gru, dfq_gate_sums_t gate_sums, const int8_t *x, int8_t *out,
                             int8_t *scratch)
{
    dfq_half_t *h = (dfq_half_t *)(void *)scratch;
    dfq_fill_halves(h, 0, gru->layer.units);
    dfq_gru_steps(gru, gate_sums, x, out, h);
}

DFQ_INLINE void dfq_gru_from_with(const dfq_gru_s16s8_t *gru, dfq_gate_sums_t gate_sums, const int8_t *x,
                                  const int8_t *first, int8_t *out, int8_t *scratch)
{
    dfq_half_t *h = (dfq_half_t *)(void *)scratch;
    dfq_start_state(&gru->first, first, gru->layer.units, h);
    dfq_gru_steps(gru, gate_sums, x, out, h);
}

DFQ_KERNEL void dfq_gru_s16s8(const dfq_gru_s16s8_t *gru, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_gru_with(gru, dfq_gate_sums, x, out, scratch);
}

DFQ_KERNEL void dfq_gru_from_s16s8(const dfq_gru_s16s8_t *gru, const int8_t *x, const int8_t *first, int8_t *out,
                                   int8_t *scratch)
{
    dfq_gru_from_with(gru, dfq_gate_sums, x, first, out, scratch);
}

/* --- simple RNN --- */

typedef struct {
    dfq_recurrent_t layer;
    dfq_start_t first;
} dfq_rnn_s16s8_t;

/* All steps. scratch: h [units], sums [units], x [inputs]. */
DFQ_PART void dfq_rnn_steps(const dfq_rnn_s16s8_t *rnn, dfq_gate_sums_t gate_sums, const int8_t *x, int8_t *out,
                            dfq_half_t *h)
{
    const dfq_recurrent_t *layer = &rnn->layer;
    const int32_t units = layer->units;
    dfq_half_t *sums = h + units;
    dfq_half_t *column = sums + units;
    dfq_half_t *spare = dfq_gate_spare(h, (int32_t)(column - h) + layer->of_input.depth);
    for (int32_t index = 0; index < layer->steps; index++) {
        dfq_load_step(layer, x, index, column);
        gate_sums(&layer->of_input, column, &layer->of_state, h, 0, units, sums, spare);
        dfq_tanh_run(layer->tanh, sums, units, h);
        dfq_store_step(layer, h, index, units, out);
    }
}

/* From zeros, and from given states. */
DFQ_INLINE void dfq_rnn_with(const dfq_rnn_s16s8_t *rnn, dfq_gate_sums_t gate_sums, const int8_t *x, int8_t *out,
                             int8_t *scratch)
{
    dfq_half_t *h = (dfq_half_t *)(void *)scratch;
    dfq_fill_halves(h, 0, rnn->layer.units);
    dfq_rnn_steps(rnn, gate_sums, x, out, h);
}

DFQ_INLINE void dfq_rnn_from_with(const dfq_rnn_s16s8_t *rnn, dfq_gate_sums_t gate_sums, const int8_t *x,
                                  const int8_t *first, int8_t *out, int8_t *scratch)
{
    dfq_half_t *h = (dfq_half_t *)(void *)scratch;
    dfq_start_state(&rnn->first, first, rnn->layer.units, h);
    dfq_rnn_steps(rnn, gate_sums, x, out, h);
}

DFQ_KERNEL void dfq_rnn_s16s8(const dfq_rnn_s16s8_t *rnn, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_rnn_with(rnn, dfq_gate_sums, x, out, scratch);
}

DFQ_KERNEL void dfq_rnn_from_s16s8(const dfq_rnn_s16s8_t *rnn, const int8_t *x, const int8_t *first, int8_t *out,
                                   int8_t *scratch)
{
    dfq_rnn_from_with(rnn, dfq_gate_sums, x, first, out, scratch);
}

#endif
