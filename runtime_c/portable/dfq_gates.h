/* SPDX-License-Identifier: MIT-0 */
/* What the gates of recurrent layers do to runs of int16 with a binary point: sums have 12 bits, results of tanh and
 * sigmoid 15 bits. Everything is rounded half up and saturated to int16.
 *
 * The table is that of tanh at 0, 1/64 ... 8 with 15 bits, 513 entries; between two of them it is a line.
 */
#ifndef DFQ_GATES_H
#define DFQ_GATES_H

#include "dfq_wide_s16.h"

/* clamp(to_zero + ((((q - from_zero) << pre_shift) * multiplier + 2^31) >> 32), lo, hi). */
typedef struct {
    int32_t multiplier, pre_shift, from_zero, to_zero, lo, hi;
} dfq_conversion_t;

/* How an LSTM's cell is kept. */
typedef struct {
    const DFQ_FLASH int16_t *peephole; /* [3][units] of i, o, f, or NULL */
    int32_t peephole_shift;
    int32_t bits;
} dfq_cell_t;

DFQ_INLINE int32_t dfq_saturate_16(int32_t value)
{
#if defined(__GNUC__) && defined(__ARM_FEATURE_SAT) /* compilers write five instructions */
    int32_t saturated;
    __asm__("ssat %0, #16, %1" : "=r"(saturated) : "r"(value));
    return saturated;
#else
    return value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value;
#endif
}

/* value * 2^-bits, half up. */
DFQ_INLINE int32_t dfq_round_right(int32_t value, int32_t bits)
{
    return dfq_shift_right(value + (int32_t)(((uint32_t)1 << bits) >> 1), bits);
}

DFQ_INLINE int32_t dfq_convert_state(const dfq_conversion_t *form, int32_t q)
{
    const int32_t shifted = (q - form->from_zero) * (int32_t)((uint32_t)1 << form->pre_shift);
    return dfq_clamp(form->to_zero + dfq_multiply_round(shifted, form->multiplier), form->lo, form->hi);
}

#if defined(__GNUC__) && defined(__ARM_FEATURE_MVE)
#include "dfq_gates_mve.h"
#else

/* 15 bits of tanh(x), x with 12 bits: a line between two entries of the table. */
DFQ_PART int32_t dfq_tanh_s16(const DFQ_FLASH int16_t *table, int32_t x)
{
    const int32_t sign = dfq_shift_right(x, 31);
    const int32_t magnitude = dfq_min((x ^ sign) - sign, INT16_MAX);
    const int32_t at = magnitude >> 6, part = magnitude & 63;
#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP) && defined(__ARMEL__) && defined(__thumb__)
    /* Both entries in one word meet both of their weights. */
    const int32_t weights = 64 + part * 65535;
    int32_t line;
    __asm__("ldr %0, [%1, %2, lsl #1]\n\tsmlad %0, %0, %3, %4"
            : "=&r"(line)
            : "r"(table), "r"(at), "r"(weights), "r"(32), "m"(*(const int16_t (*)[513])table));
#else
    const int32_t line = (int32_t)table[at] * 64 + (table[at + 1] - table[at]) * part + 32;
#endif
    return ((line >> 6) ^ sign) - sign;
}

/* 15 bits of sigmoid(2 x): (1 + tanh(x)) / 2. */
DFQ_INLINE int32_t dfq_sigmoid_s16(const DFQ_FLASH int16_t *table, int32_t x)
{
    return (dfq_tanh_s16(table, x) + 32768) >> 1;
}

/* `count` states as outputs of either type. */
DFQ_INLINE void dfq_convert_states(const dfq_conversion_t *form, const dfq_half_t *state, int32_t count, int32_t wide,
                                   int8_t *out)
{
    for (int32_t k = 0; k < count; k++) {
        dfq_store(out, wide, k, dfq_convert_state(form, state[k]));
    }
}

DFQ_INLINE void dfq_tanh_run(const DFQ_FLASH int16_t *table, const dfq_half_t *x, int32_t count, dfq_half_t *out)
{
    for (int32_t k = 0; k < count; k++) {
        out[k] = (dfq_half_t)dfq_tanh_s16(table, x[k]);
    }
}

/* A gate's sum with what it sees of the cell. */
DFQ_INLINE int32_t dfq_peep(const dfq_cell_t *form, int32_t sum, int32_t place, int32_t cell)
{
    if (form->peephole == NULL) {
        return sum;
    }
    return dfq_saturate_16(sum + dfq_round_right(form->peephole[place] * cell, form->peephole_shift));
}

/* A cell with 12 bits, saturated. */
DFQ_INLINE int32_t dfq_cell_argument(int32_t cell, int32_t bits)
{
    return bits < 12 ? dfq_saturate_16(cell * (int32_t)((uint32_t)1 << (12 - bits))) : dfq_round_right(cell, bits - 12);
}

/* The cell c, and o * tanh(c) to m, from the gates' sums [4][units]. */
DFQ_PART void dfq_lstm_cell(const dfq_cell_t *form, const DFQ_FLASH int16_t *table, const dfq_half_t *sums,
                            int32_t units, dfq_half_t *c, dfq_half_t *m)
{
    for (int32_t k = 0; k < units; k++) {
        const int32_t old = c[k];
        const int32_t i = dfq_sigmoid_s16(table, dfq_peep(form, sums[k], k, old));
        const int32_t f = dfq_sigmoid_s16(table, dfq_peep(form, sums[2 * units + k], 2 * units + k, old));
        const int32_t g = dfq_tanh_s16(table, sums[3 * units + k]);
        const int32_t cell = dfq_saturate_16(dfq_round_right(f * old + dfq_round_right(i * g, 15 - form->bits), 15));
        const int32_t o = dfq_sigmoid_s16(table, dfq_peep(form, sums[units + k], units + k, cell));
        c[k] = (dfq_half_t)cell;
        m[k] = (dfq_half_t)dfq_round_right(o * dfq_tanh_s16(table, dfq_cell_argument(cell, form->bits)), 15);
    }
}

/* 2 * last + r * fed to `last`, where r is the sigmoid of `sums`, and `fed` and `last` have 11 bits. */
DFQ_INLINE void dfq_gru_reset_after(const DFQ_FLASH int16_t *table, const dfq_half_t *sums, const dfq_half_t *fed,
                                    int32_t units, dfq_half_t *last)
{
    for (int32_t k = 0; k < units; k++) {
        const int32_t r = dfq_sigmoid_s16(table, sums[k]);
        last[k] = (dfq_half_t)dfq_saturate_16((int32_t)2 * last[k] + dfq_round_right(r * fed[k], 14));
    }
}

/* r * h to `fed`. */
DFQ_INLINE void dfq_gru_reset(const DFQ_FLASH int16_t *table, const dfq_half_t *sums, const dfq_half_t *h,
                              int32_t units, dfq_half_t *fed)
{
    for (int32_t k = 0; k < units; k++) {
        fed[k] = (dfq_half_t)dfq_round_right(dfq_sigmoid_s16(table, sums[k]) * h[k], 15);
    }
}

/* z * h + (1 - z) * tanh(last) to `h`, where z is the sigmoid of `sums`. */
DFQ_INLINE void dfq_gru_update(const DFQ_FLASH int16_t *table, const dfq_half_t *sums, const dfq_half_t *last,
                               int32_t units, dfq_half_t *h)
{
    for (int32_t k = 0; k < units; k++) {
        const int32_t z = dfq_sigmoid_s16(table, sums[k]);
        const int32_t mixed = z * h[k] + (32768 - z) * dfq_tanh_s16(table, last[k]);
        h[k] = (dfq_half_t)dfq_saturate_16(dfq_round_right(mixed, 15));
    }
}

#endif

#endif
