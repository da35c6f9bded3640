/* SPDX-License-Identifier: MIT-0 */
/* Recurrent layers over a sequence: LSTM, GRU and the simple RNN. Inputs and outputs are int8 or int16 each, weights int8;
 * states and all that lies between are int16 with a binary point.
 *
 *   x          [steps][inputs], 2-byte aligned where int16
 *   weights    [gates][units][inputs] and [gates][units][width], gates in ONNX's order: i o f g, z r n, h
 *   first, second   initial states [width] and [units], for the functions with `_from`; zeros for the others
 *   out        [steps][width], or the last step's alone; disjoint from all inputs
 *   scratch    a step's inputs, the states, the gates' sums, all int16 (see each function)
 *
 * The compiler has proved from the real weights that no sum leaves 32 bits. Equal QLstm, QGru and QRnn bit for bit.
 * Tested by tests/kernels/test_recurrent.py.
 */
#ifndef DFQ_RECURRENT_S16S8_H
#define DFQ_RECURRENT_S16S8_H

#include "dfq_conv2d_s16sn.h"

/* Rows of weights over a column: ((bias + sum weight * column << pre_shift) * multiplier + 2^31) >> 32. */
typedef struct {
    const DFQ_FLASH int8_t *weight;
    const DFQ_FLASH int32_t *bias;
    const DFQ_FLASH int32_t *multipliers;
    int32_t pre_shift;
    int32_t depth;
} dfq_gate_rows_t;

/* clamp(to_zero + ((((q - from_zero) << pre_shift) * multiplier + 2^31) >> 32), lo, hi). */
typedef struct {
    int32_t multiplier, pre_shift, from_zero, to_zero, lo, hi;
} dfq_conversion_t;

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

DFQ_INLINE int32_t dfq_saturate_16(int32_t value)
{
    return value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value;
}

/* value * 2^-bits, half up. */
DFQ_INLINE int32_t dfq_round_right(int32_t value, int32_t bits)
{
    return dfq_shift_right(value + (int32_t)(((uint32_t)1 << bits) >> 1), bits);
}

/* 15 bits of tanh(x), x with 12 bits: a line between two entries of the table. */
DFQ_PART int32_t dfq_tanh_s16(const DFQ_FLASH int16_t *table, int32_t x)
{
    const int32_t magnitude = dfq_min(x < 0 ? -x : x, INT16_MAX);
    const int32_t at = magnitude >> 6;
    const int32_t line = (int32_t)table[at] * 64 + (table[at + 1] - table[at]) * (magnitude & 63);
    const int32_t value = (line + 32) >> 6;
    return x < 0 ? -value : value;
}

/* 15 bits of sigmoid(2 x): (1 + tanh(x)) / 2. */
DFQ_INLINE int32_t dfq_sigmoid_s16(const DFQ_FLASH int16_t *table, int32_t x)
{
    return (dfq_tanh_s16(table, x) + 32768) >> 1;
}

DFQ_INLINE int32_t dfq_scale_sum(const dfq_gate_rows_t *rows, int32_t acc, int32_t row)
{
    return dfq_multiply_round(acc * (int32_t)((uint32_t)1 << rows->pre_shift), rows->multipliers[row]);
}

DFQ_INLINE int32_t dfq_convert_state(const dfq_conversion_t *form, int32_t q)
{
    const int32_t shifted = (q - form->from_zero) * (int32_t)((uint32_t)1 << form->pre_shift);
    return dfq_clamp(form->to_zero + dfq_multiply_round(shifted, form->multiplier), form->lo, form->hi);
}

/* Rows first .. first + count of sums over one column, or over two that are added: to `sums`, saturated. */
DFQ_SHARED void dfq_gate_sums(const dfq_gate_rows_t *a, const dfq_half_t *column, const dfq_gate_rows_t *b,
                              const dfq_half_t *other, int32_t first, int32_t count, dfq_half_t *sums)
{
    const int32_t end = first + count;
    int32_t row = first;
    for (; row + 4 <= end; row += 4, sums += 4) {
        dfq_column_s16_t acc = { a->bias[row], a->bias[row + 1], a->bias[row + 2], a->bias[row + 3] };
        acc = dfq_dot_1x4_s16(acc, column, a->weight + row * a->depth, a->depth);
        int32_t s0 = dfq_scale_sum(a, acc.a0, row), s1 = dfq_scale_sum(a, acc.a1, row + 1);
        int32_t s2 = dfq_scale_sum(a, acc.a2, row + 2), s3 = dfq_scale_sum(a, acc.a3, row + 3);
        if (b != NULL) {
            dfq_column_s16_t more = { b->bias[row], b->bias[row + 1], b->bias[row + 2], b->bias[row + 3] };
            more = dfq_dot_1x4_s16(more, other, b->weight + row * b->depth, b->depth);
            s0 += dfq_scale_sum(b, more.a0, row);
            s1 += dfq_scale_sum(b, more.a1, row + 1);
            s2 += dfq_scale_sum(b, more.a2, row + 2);
            s3 += dfq_scale_sum(b, more.a3, row + 3);
        }
        sums[0] = (dfq_half_t)dfq_saturate_16(s0);
        sums[1] = (dfq_half_t)dfq_saturate_16(s1);
        sums[2] = (dfq_half_t)dfq_saturate_16(s2);
        sums[3] = (dfq_half_t)dfq_saturate_16(s3);
    }
    for (; row < end; row++, sums++) {
        int32_t acc = a->bias[row];
        const DFQ_FLASH int8_t *w = a->weight + row * a->depth;
        for (int32_t k = 0; k < a->depth; k++) {
            acc += (int32_t)column[k] * w[k];
        }
        int32_t sum = dfq_scale_sum(a, acc, row);
        if (b != NULL) {
            acc = b->bias[row];
            w = b->weight + row * b->depth;
            for (int32_t k = 0; k < b->depth; k++) {
                acc += (int32_t)other[k] * w[k];
            }
            sum += dfq_scale_sum(b, acc, row);
        }
        *sums = (dfq_half_t)dfq_saturate_16(sum);
    }
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

/* The state that the output has, after step `index`. */
DFQ_INLINE void dfq_store_step(const dfq_recurrent_t *layer, const dfq_half_t *state, int32_t index, int32_t width,
                               int8_t *out)
{
    if (layer->last && index + 1 < layer->steps) {
        return;
    }
    const int32_t place = layer->last ? 0 : dfq_step_place(layer, index) * width;
    for (int32_t k = 0; k < width; k++) {
        dfq_store(out, layer->out_wide, place + k, dfq_convert_state(&layer->end, state[k]));
    }
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
    dfq_gate_rows_t projection;        /* weight NULL: none */
    const DFQ_FLASH int16_t *peephole; /* [3][units] of i, o, f, or NULL */
    int32_t peephole_shift;
    int32_t cell_bits;
    int32_t gives_cell;
} dfq_lstm_s16s8_t;

/* A gate's sum with what it sees of the cell. */
DFQ_INLINE int32_t dfq_peep(const dfq_lstm_s16s8_t *lstm, int32_t sum, int32_t place, int32_t cell)
{
    if (lstm->peephole == NULL) {
        return sum;
    }
    return dfq_saturate_16(sum + dfq_round_right(lstm->peephole[place] * cell, lstm->peephole_shift));
}

/* A cell with 12 bits, saturated. */
DFQ_INLINE int32_t dfq_cell_argument(int32_t cell, int32_t bits)
{
    return bits < 12 ? dfq_saturate_16(cell * (int32_t)((uint32_t)1 << (12 - bits))) : dfq_round_right(cell, bits - 12);
}

/* The cell c, and o * tanh(c) to m, from the gates' sums. */
DFQ_PART void dfq_lstm_cell(const dfq_lstm_s16s8_t *lstm, const dfq_half_t *sums, dfq_half_t *c, dfq_half_t *m)
{
    const DFQ_FLASH int16_t *table = lstm->layer.tanh;
    const int32_t units = lstm->layer.units;
    for (int32_t k = 0; k < units; k++) {
        const int32_t old = c[k];
        const int32_t i = dfq_sigmoid_s16(table, dfq_peep(lstm, sums[k], k, old));
        const int32_t f = dfq_sigmoid_s16(table, dfq_peep(lstm, sums[2 * units + k], 2 * units + k, old));
        const int32_t g = dfq_tanh_s16(table, sums[3 * units + k]);
        const int32_t cell =
            dfq_saturate_16(dfq_round_right(f * old + dfq_round_right(i * g, 15 - lstm->cell_bits), 15));
        const int32_t o = dfq_sigmoid_s16(table, dfq_peep(lstm, sums[units + k], units + k, cell));
        c[k] = (dfq_half_t)cell;
        m[k] = (dfq_half_t)dfq_round_right(o * dfq_tanh_s16(table, dfq_cell_argument(cell, lstm->cell_bits)), 15);
    }
}

/* All steps. scratch: h [width], c [units], m [units] where there is a projection, sums [4][units], x [inputs]. */
DFQ_PART void dfq_lstm_steps(const dfq_lstm_s16s8_t *lstm, const int8_t *x, int8_t *out, dfq_half_t *h)
{
    const dfq_recurrent_t *layer = &lstm->layer;
    const int32_t units = layer->units, width = layer->of_state.depth;
    dfq_half_t *c = h + width;
    dfq_half_t *m = lstm->projection.weight != NULL ? c + units : h;
    dfq_half_t *sums = (lstm->projection.weight != NULL ? m : c) + units;
    dfq_half_t *column = sums + 4 * units;
    for (int32_t index = 0; index < layer->steps; index++) {
        dfq_load_step(layer, x, index, column);
        dfq_gate_sums(&layer->of_input, column, &layer->of_state, h, 0, 4 * units, sums);
        dfq_lstm_cell(lstm, sums, c, m);
        if (lstm->projection.weight != NULL) {
            dfq_gate_sums(&lstm->projection, m, NULL, NULL, 0, width, h);
        }
        dfq_store_step(layer, lstm->gives_cell ? c : h, index, lstm->gives_cell ? units : width, out);
    }
}

DFQ_KERNEL void dfq_lstm_s16s8(const dfq_lstm_s16s8_t *lstm, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_half_t *h = (dfq_half_t *)(void *)scratch;
    dfq_fill_halves(h, 0, lstm->layer.of_state.depth + lstm->layer.units);
    dfq_lstm_steps(lstm, x, out, h);
}

DFQ_KERNEL void dfq_lstm_from_s16s8(const dfq_lstm_s16s8_t *lstm, const int8_t *x, const int8_t *first,
                                    const int8_t *second, int8_t *out, int8_t *scratch)
{
    dfq_half_t *h = (dfq_half_t *)(void *)scratch;
    dfq_start_state(&lstm->first, first, lstm->layer.of_state.depth, h);
    dfq_start_state(&lstm->second, second, lstm->layer.units, h + lstm->layer.of_state.depth);
    dfq_lstm_steps(lstm, x, out, h);
}

/* --- GRU --- */

typedef struct {
    dfq_recurrent_t layer;
    dfq_start_t first;
    int32_t reset_after;
} dfq_gru_s16s8_t;

/* All steps. scratch: h [units], sums [3][units], fed [units], x [inputs]. */
DFQ_PART void dfq_gru_steps(const dfq_gru_s16s8_t *gru, const int8_t *x, int8_t *out, dfq_half_t *h)
{
    const dfq_recurrent_t *layer = &gru->layer;
    const DFQ_FLASH int16_t *table = layer->tanh;
    const int32_t units = layer->units;
    dfq_half_t *sums = h + units;
    dfq_half_t *last = sums + 2 * units;
    dfq_half_t *fed = sums + 3 * units;
    dfq_half_t *column = fed + units;
    for (int32_t index = 0; index < layer->steps; index++) {
        dfq_load_step(layer, x, index, column);
        dfq_gate_sums(&layer->of_input, column, &layer->of_state, h, 0, 2 * units, sums);
        if (gru->reset_after) {
            dfq_gate_sums(&layer->of_input, column, NULL, NULL, 2 * units, units, last);
            dfq_gate_sums(&layer->of_state, h, NULL, NULL, 2 * units, units, fed);
            for (int32_t k = 0; k < units; k++) {
                const int32_t r = dfq_sigmoid_s16(table, sums[units + k]);
                last[k] = (dfq_half_t)dfq_saturate_16((int32_t)2 * last[k] + dfq_round_right(r * fed[k], 14));
            }
        } else {
            for (int32_t k = 0; k < units; k++) {
                fed[k] = (dfq_half_t)dfq_round_right(dfq_sigmoid_s16(table, sums[units + k]) * h[k], 15);
            }
            dfq_gate_sums(&layer->of_input, column, &layer->of_state, fed, 2 * units, units, last);
        }
        for (int32_t k = 0; k < units; k++) {
            const int32_t z = dfq_sigmoid_s16(table, sums[k]);
            const int32_t mixed = z * h[k] + (32768 - z) * dfq_tanh_s16(table, last[k]);
            h[k] = (dfq_half_t)dfq_saturate_16(dfq_round_right(mixed, 15));
        }
        dfq_store_step(layer, h, index, units, out);
    }
}

DFQ_KERNEL void dfq_gru_s16s8(const dfq_gru_s16s8_t *gru, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_half_t *h = (dfq_half_t *)(void *)scratch;
    dfq_fill_halves(h, 0, gru->layer.units);
    dfq_gru_steps(gru, x, out, h);
}

DFQ_KERNEL void dfq_gru_from_s16s8(const dfq_gru_s16s8_t *gru, const int8_t *x, const int8_t *first, int8_t *out,
                                   int8_t *scratch)
{
    dfq_half_t *h = (dfq_half_t *)(void *)scratch;
    dfq_start_state(&gru->first, first, gru->layer.units, h);
    dfq_gru_steps(gru, x, out, h);
}

/* --- simple RNN --- */

typedef struct {
    dfq_recurrent_t layer;
    dfq_start_t first;
} dfq_rnn_s16s8_t;

/* All steps. scratch: h [units], sums [units], x [inputs]. */
DFQ_PART void dfq_rnn_steps(const dfq_rnn_s16s8_t *rnn, const int8_t *x, int8_t *out, dfq_half_t *h)
{
    const dfq_recurrent_t *layer = &rnn->layer;
    const int32_t units = layer->units;
    dfq_half_t *sums = h + units;
    dfq_half_t *column = sums + units;
    for (int32_t index = 0; index < layer->steps; index++) {
        dfq_load_step(layer, x, index, column);
        dfq_gate_sums(&layer->of_input, column, &layer->of_state, h, 0, units, sums);
        for (int32_t k = 0; k < units; k++) {
            h[k] = (dfq_half_t)dfq_tanh_s16(layer->tanh, sums[k]);
        }
        dfq_store_step(layer, h, index, units, out);
    }
}

DFQ_KERNEL void dfq_rnn_s16s8(const dfq_rnn_s16s8_t *rnn, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_half_t *h = (dfq_half_t *)(void *)scratch;
    dfq_fill_halves(h, 0, rnn->layer.units);
    dfq_rnn_steps(rnn, x, out, h);
}

DFQ_KERNEL void dfq_rnn_from_s16s8(const dfq_rnn_s16s8_t *rnn, const int8_t *x, const int8_t *first, int8_t *out,
                                   int8_t *scratch)
{
    dfq_half_t *h = (dfq_half_t *)(void *)scratch;
    dfq_start_state(&rnn->first, first, rnn->layer.units, h);
    dfq_rnn_steps(rnn, x, out, h);
}

#endif
